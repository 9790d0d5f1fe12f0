// The table of methods: each has a pair of files, which says all about it, and a line here.
#include <algorithm>

#include "engine/text.h"
#include "losses/at.h"
#include "losses/bingo.h"
#include "losses/byol.h"
#include "losses/cc.h"
#include "losses/ccl.h"
#include "losses/compress.h"
#include "losses/coss.h"
#include "losses/crd.h"
#include "losses/dino.h"
#include "losses/dinoss.h"
#include "losses/dist.h"
#include "losses/dkd.h"
#include "losses/ega.h"
#include "losses/fitnet.h"
#include "losses/ft.h"
#include "losses/irg.h"
#include "losses/kd.h"
#include "losses/moco.h"
#include "losses/nce.h"
#include "losses/nst.h"
#include "losses/pkt.h"
#include "losses/rkd.h"
#include "losses/seed.h"
#include "losses/simclr.h"
#include "losses/sld.h"
#include "losses/smd.h"
#include "losses/sp.h"
#include "losses/supervised.h"
#include "losses/vid.h"

namespace coss {

const std::vector<MethodInfo>& methods() {
  static const std::vector<MethodInfo> table{
      coss_method(),    simreg_method(), kd_method(),         sld_method(),  dkd_method(),         dino_method(),
      dinoss_method(),  dist_method(),   supervised_method(), ega_method(),  fitnet_method(),      at_method(),
      nst_method(),     vid_method(),    ft_method(),         sp_method(),   pkt_method(),         rkd_method(),
      irg_method(),     nce_method(),    ccl_method(),        cc_method(),   smd_method(),         simclr_method(),
      crd_method(),     bingo_method(),  byol_method(),       seed_method(), compress_1q_method(), compress_2q_method(),
      moco_v2_method(), disco_method(),
  };
  return table;
}

namespace {

bool is_zero(const MethodOptions& options, const char* option) {
  const auto found = options.values.find(option);
  return found != options.values.end() && found->second == 0;
}

}  // namespace

bool is_method(const std::string& name) {
  return std::any_of(methods().begin(), methods().end(), [&](const MethodInfo& method) { return name == method.name; });
}

const MethodInfo& find_method(const std::string& name) {
  std::vector<std::string> known;
  for (const MethodInfo& method : methods()) {
    if (name == method.name) return method;
    known.push_back(method.name);
  }
  throw Error(unknown_name("method", name, known));
}

bool needs_labels(const MethodOptions& options) {
  return find_method(options.name).needs.labels && !is_zero(options, "label_weight");
}

bool needs_teacher_head(const MethodOptions& options) {
  return find_method(options.name).needs.teacher_head && !is_zero(options, "teacher_head");
}

int64_t views_of(const MethodOptions& options) {
  const MethodInfo& info = find_method(options.name);
  return info.views ? info.views(options) : 1;
}

std::unique_ptr<Method> make_method(const MethodOptions& options, const MethodParts& parts) {
  const MethodInfo& info = find_method(options.name);
  const std::string who = "the method " + options.name;
  COSS_CHECK(!info.needs.teacher || parts.teacher, who + " needs a teacher: set teacher.model and teacher.weights");
  if (needs_labels(options)) {
    COSS_CHECK(parts.classes > 0, who + " needs labels, and the training data have none");
    COSS_CHECK(parts.student.classes >= parts.classes,
               who + " needs a student with a classifier for the " + std::to_string(parts.classes) + " classes");
  }
  COSS_CHECK(!needs_teacher_head(options) || parts.teacher_head,
             who + " compares embeddings, and the teacher's file has no projection head" +
                 (options.values.contains("teacher_head") ? ": method.teacher_head=0 takes its features" : ""));
  return info.make(options, parts);
}

MethodOptions::MethodOptions(const std::string& method) : name(method) {
  for (const MethodOption& option : find_method(method).options) values[option.name] = option.value;
}

}  // namespace coss
