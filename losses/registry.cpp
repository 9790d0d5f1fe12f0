// The table of methods.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

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

namespace {

template <class M>
std::unique_ptr<Method> make(const MethodOptions& options, const MethodParts& parts) {
  return std::make_unique<M>(options, parts);
}

int64_t two_views(const MethodOptions&) { return 2; }
int64_t teachers_view(const MethodOptions& options) { return options["teacher_view"] == 0 ? 1 : 2; }

bool is_zero(const MethodOptions& options, const char* option) {
  const auto found = options.values.find(option);
  return found != options.values.end() && found->second == 0;
}

// --- rows of options: numbers of at least 0 are written as they stand in MethodOption ------------------------------

using Options = std::vector<MethodOption>;
constexpr double kMostCount = 1 << 30;

MethodOption flag(const char* name, bool value, const char* help) {
  return {name, value ? 1.0 : 0.0, help, OptionKind::flag, 0, 1};
}
MethodOption count(const char* name, double value, const char* help, double least = 1) {
  return {name, value, help, OptionKind::whole, least, kMostCount};
}
MethodOption positive(const char* name, double value, const char* help) {
  MethodOption option{name, value, help};
  option.least_excluded = true;
  return option;
}
MethodOption share(const char* name, double value, const char* help) {  // above 0, at most 1
  MethodOption option = positive(name, value, help);
  option.most = 1;
  return option;
}
MethodOption below_one(const char* name, double value, const char* help) {  // from 0 on
  MethodOption option{name, value, help, OptionKind::number, 0, 1};
  option.most_excluded = true;
  return option;
}
MethodOption label_weight(double value) {
  return {"label_weight", value, "weight of the cross-entropy with labels; 0: no labels are needed"};
}
MethodOption teacher_view(bool value) {
  return flag("teacher_view", value, "the teacher sees a view of its own, the second; else the student's");
}
Options with_student_head(Options options) {
  options.push_back(count("head_layers", 2,
                          "layers of the student's head, which is there where the widths differ or it has more than 2; "
                          "0: none",
                          /*least=*/0));
  options.push_back(count("head_hidden", 2048, "width of the hidden layers of the student's head"));
  return options;
}
Options with_companion(Options options) {
  options.push_back({"companion_rate", 0.01, "learning rate of the teacher's embedding, constant"});
  options.push_back({"companion_decay", 5e-4, "weight decay of the teacher's embedding"});
  return options;
}

}  // namespace

const std::vector<MethodInfo>& methods() {
  static const std::vector<MethodInfo> table{
      {"coss",
       "Singh and Wang, Simple Unsupervised Knowledge Distillation With Space Similarity, ECCV 2024",
       {.teacher = true, .neighbors = true},
       with_student_head(
           {positive("student_temperature", 0.1, "the loss is divided by both temperatures"),
            positive("teacher_temperature", 0.07, "the loss is divided by both temperatures"),
            {"loss_scale", 0, "instead of the temperatures: the loss is multiplied by this; 0: they count"},
            {"row_weight", 1, "weight of the term per image"},
            {"column_weight", 1, "weight of the term per feature dimension"}}),
       make<CossMethod>},
      {"simreg",
       "Navaneet et al., SimReg: Regression as a Simple Yet Effective Tool for Self-supervised Knowledge "
       "Distillation, BMVC 2021",
       {.teacher = true},
       {},
       make<SimregMethod>},
      {"kd",
       "Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015",
       {.teacher = true, .labels = true, .teacher_logits = true},
       with_companion({label_weight(0.1),
                       {"distill_weight", 0.9, "weight of the divergence from the teacher, times temperature squared"},
                       positive("temperature", 4, "both networks' logits are divided by it"),
                       teacher_view(false),
                       count("embedding", 0,
                             "width of an embedding and a classifier that are trained behind the teacher; 0: its own",
                             /*least=*/0)}),
       make<KdMethod>,
       teachers_view},
      {"sld",
       "soft-label distillation: kd without labels, as in Singh and Wang, ECCV 2024",
       {.teacher = true, .teacher_logits = true},
       {positive("temperature", 4, "both networks' logits are divided by it")},
       make<SldMethod>},
      {"dkd",
       "Zhao et al., Decoupled Knowledge Distillation, CVPR 2022",
       {.teacher = true, .labels = true, .teacher_logits = true},
       {{"cross_entropy_weight", 1, "weight of the cross-entropy with labels"},
        {"target_weight", 1, "weight of the divergence of the target class against all others"},
        {"other_weight", 8, "weight of the divergence among the other classes"},
        positive("temperature", 4, "both networks' logits are divided by it"),
        {"warmup_epochs", 20, "epochs, in which both divergences reach their weight"}},
       make<DkdMethod>},
      {"dino",
       "DINO's cross-entropy over feature dimensions (Caron et al., ICCV 2021), as in Singh and Wang, ECCV 2024",
       {.teacher = true},
       with_student_head(
           {positive("student_temperature", 0.1, "temperature of the softmax over the student's features"),
            positive("teacher_temperature", 0.07, "temperature of the softmax over the teacher's features")}),
       make<DinoMethod>},
      {"dinoss",
       "dino and the same over the batch, as in Singh and Wang, ECCV 2024",
       {.teacher = true},
       with_student_head(
           {positive("student_temperature", 0.1, "temperature of the softmax over the student's features"),
            positive("teacher_temperature", 0.07, "temperature of the softmax over the teacher's features"),
            {"column_weight", 0.5, "weight of the term per feature dimension"}}),
       make<DinossMethod>},
      {"dist",
       "Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022, over feature dimensions",
       {.teacher = true},
       with_student_head(
           {positive("student_temperature", 0.1, "temperature of the softmax over the student's features"),
            positive("teacher_temperature", 0.07, "temperature of the softmax over the teacher's features"),
            {"row_weight", 1, "weight of the term per image"},
            {"column_weight", 1, "weight of the term per feature dimension"}}),
       make<DistMethod>},
      {"supervised", "cross-entropy with labels, no teacher", {.labels = true}, {}, make<SupervisedMethod>},
      {"ega",
       "Ma et al., Distilling Knowledge from Self-Supervised Teacher by Embedding Graph Alignment, BMVC 2022",
       {.teacher = true, .labels = true},
       with_companion(
           {{"label_weight", 1, "weight of the cross-entropy with labels; 0: without labels, which wants embedding=0"},
            {"node_weight", 0.8, "weight of the distance of the nodes' correlations from the identity"},
            {"edge_weight", 0.24, "weight of the distance of the edges"},
            teacher_view(true),
            count("embedding", 256,
                  "width of the node embeddings of both sides; 0: the teacher's features are its nodes", /*least=*/0),
            count("teacher_epochs", 0,
                  "first epochs, in which the teacher's embedding learns alone, before the student; 0: both learn at "
                  "once",
                  /*least=*/0),
            flag("classifier_on_embedding", false,
                 "the student's classifier stands on its embedding, as in the paper")}),
       make<EgaMethod>,
       teachers_view},
      {"fitnet",
       "Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015",
       {.teacher = true, .labels = true},
       {{"weight", 100, "weight of the distance; 1 for layer 0"},
        label_weight(1),
        count("layer", 2, "stage whose maps are compared, from 1; 0: embeddings of the pooled features", /*least=*/0),
        flag("teacher_view", false, "only with layer 0: the teacher sees a view of its own, the second"),
        count("embedding", 256, "layer 0: width of the embeddings of both sides; 0: the teacher's features themselves",
              /*least=*/0),
        {"companion_rate", 0.01, "layer 0: learning rate of the teacher's embedding, constant"},
        {"companion_decay", 5e-4, "layer 0: weight decay of the teacher's embedding"}},
       make_fitnet,
       teachers_view},
      {"at",
       "Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017",
       {.teacher = true, .labels = true},
       {{"weight", 1000, "weight of the distances of all stages"}, label_weight(1)},
       make<AtMethod>},
      {"nst",
       "Huang and Wang, Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, arXiv 1707.01219, 2017",
       {.teacher = true, .labels = true},
       {{"weight", 50, "weight of the discrepancies of all stages"}, label_weight(1)},
       make<NstMethod>},
      {"vid",
       "Ahn et al., Variational Information Distillation for Knowledge Transfer, CVPR 2019",
       {.teacher = true, .labels = true},
       {{"weight", 1, "weight of the likelihoods of all stages"}, label_weight(1)},
       make<VidMethod>},
      {"ft",
       "Kim, Park and Kwak, Paraphrasing Complex Network: Network Compression via Factor Transfer, NeurIPS 2018",
       {.teacher = true, .labels = true},
       {{"weight", 200, "weight of the distance of the factors"},
        label_weight(1),
        share("rate", 0.5, "channels of a factor over those of the teacher's last map"),
        flag("whole_factor", false, "factors are compared as they are; else their means over channels of squares"),
        count("teacher_epochs", 5, "first epochs, in which the paraphraser learns alone", /*least=*/0),
        {"companion_rate", 0.01, "learning rate of the paraphraser, constant"},
        {"companion_decay", 5e-4, "weight decay of the paraphraser"}},
       make<FtMethod>},
      {"sp",
       "Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019",
       {.teacher = true, .labels = true},
       {label_weight(1), {"weight", 3000, "weight of the similarities"}},
       make<SpMethod>},
      {"pkt",
       "Passalis and Tefas, Learning Deep Representations with Probabilistic Knowledge Transfer, ECCV 2018",
       {.teacher = true, .labels = true},
       with_companion({label_weight(1),
                       teacher_view(false),
                       {"weight", 30000, "weight of the divergence"},
                       count("embedding", 0, "width of the embeddings that are compared on both sides; 0: features",
                             /*least=*/0)}),
       make_pkt,
       teachers_view},
      {"rkd",
       "Park et al., Relational Knowledge Distillation, CVPR 2019",
       {.teacher = true, .labels = true},
       with_companion({label_weight(1),
                       teacher_view(false),
                       {"weight", 1, "weight of distances and angles together"},
                       {"distance_weight", 25, "weight of the distances"},
                       {"angle_weight", 50, "weight of the angles"},
                       count("embedding", 0, "width of the embeddings that are compared on both sides; 0: features",
                             /*least=*/0)}),
       make_rkd,
       teachers_view},
      {"irg",
       "Liu et al., Knowledge Distillation via Instance Relationship Graph, CVPR 2019",
       {.teacher = true, .labels = true},
       with_companion({label_weight(1),
                       teacher_view(false),
                       {"weight", 1, "weight of the graph's three terms together"},
                       {"vertex_weight", 0.1, "weight of the logits"},
                       {"edge_weight", 5, "weight of the distances between images"},
                       {"path_weight", 5, "weight of the ways between two stages"},
                       flag("maps", true, "maps are compared; switch it off for a teacher whose stages are no maps"),
                       count("embedding", 0, "width of the embeddings that are compared on both sides; 0: features",
                             /*least=*/0)}),
       make_irg,
       teachers_view},
      {"nce",
       "contrast with labels, as in Ma et al., Distilling Knowledge from Self-Supervised Teacher by Embedding Graph "
       "Alignment, BMVC 2022",
       {.teacher = true, .labels = true},
       with_companion({{"weight", 1, "weight of the contrast, beside the cross-entropy with labels"},
                       positive("temperature", 0.1, "the cosines are divided by it"),
                       teacher_view(true),
                       count("embedding", 256,
                             "width of the embeddings of both sides; 0: the student's features follow the teacher's",
                             /*least=*/0)}),
       make<NceMethod>,
       teachers_view},
      {"ccl",
       "Chen et al., Distilling Audio-Visual Knowledge by Compositional Contrastive Learning, CVPR 2021",
       {.teacher = true, .labels = true},
       with_companion(
           {{"weight", 1, "weight of the contrast and the divergence, beside the cross-entropy with labels"},
            positive("temperature", 0.1, "the cosines are divided by it"),
            teacher_view(true),
            count("embedding", 256,
                  "width of the embeddings of both sides; 0: features and logits are the teacher's own", /*least=*/0)}),
       make<CclMethod>,
       teachers_view},
      {"cc",
       "Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019",
       {.teacher = true, .labels = true},
       {label_weight(1),
        {"weight", 0.02, "weight of the congruence"},
        count("embedding", 128, "width of the embeddings of both sides")},
       make<CcMethod>},
      {"smd",
       "Liu and Ye, Improving Self-supervised Lightweight Model Learning via Hard-Aware Metric Distillation, ECCV 2022",
       {.teacher = true},
       {positive("temperature", 0.04,
                 "the distances are divided by it; the authors' for EfficientNet and MobileNet is 0.004"),
        {"warm_epochs", 2, "epochs in which the cosine of the own pairs is added"}},
       make<SmdMethod>,
       two_views},
      {"simclr",
       "Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020",
       {},
       {positive("temperature", 0.1, "the cosines are divided by it; the paper's for CIFAR-10 is 0.5"),
        count("projection", 128, "width of the head's output")},
       make<SimclrMethod>,
       two_views},
      {"crd",
       "Tian et al., Contrastive Representation Distillation, ICLR 2020",
       {.teacher = true, .labels = true},
       {{"weight", 0.8, "weight of the contrast"},
        {"label_weight", 1, "weight of the cross-entropy with labels; 0: without, and negatives are any other images"},
        count("dim", 128, "width of both embeddings"),
        count("negatives", 16384, "negatives that are drawn for each image"),
        positive("temperature", 0.07, "the cosines are divided by it"),
        below_one("momentum", 0.5, "momentum of the rows of the memory banks"),
        flag("relaxed", false, "the positive is any image of the class"),
        teacher_view(false)},
       make<CrdMethod>,
       teachers_view},
      {"bingo",
       "Xu et al., Bag of Instances Aggregation Boosts Self-supervised Distillation, ICLR 2022",
       {.teacher = true, .teacher_head = true, .queue = true, .neighbors = true},
       {count("queue", 65536, "keys of earlier images"),
        positive("temperature", 0.2, "the cosines are divided by it; the authors' for EfficientNet-B0 is 0.12"),
        {"intra_epochs", 10, "epochs before an image follows its neighbor's key too"},
        positive("alpha", 2, "CutMix: the boxes' shares are of Beta(alpha, alpha)"),
        count("head_hidden", 2048, "width of the hidden layer of the student's head"),
        count("dim", 128, "width of the embeddings, that of the teacher's head"),
        flag("teacher_head", true, "the head of the teacher's file gives embeddings; else its features are taken")},
       make<BingoMethod>,
       two_views},
      {"byol",
       "Grill et al., Bootstrap Your Own Latent: A New Approach to Self-supervised Learning, NeurIPS 2020",
       {},
       {below_one("momentum", 0.996, "momentum of the averaged network at first; it rises to 1"),
        count("head_hidden", 4096, "width of the hidden layers of projector and predictor"),
        count("dim", 256, "width of the projections")},
       make<ByolMethod>,
       two_views},
      {"seed",
       "Fang et al., SEED: Self-supervised Distillation for Visual Representation, ICLR 2021",
       {.teacher = true, .teacher_head = true, .queue = true},
       {count("queue", 65536, "embeddings of the teacher that are kept"),
        positive("student_temperature", 0.2, "temperature of the student's softmax over the queue"),
        positive("teacher_temperature", 1e-4, "temperature of the teacher's softmax; the paper's is 0.01"),
        flag("teacher_head", true, "the head of the teacher's file gives embeddings; else its features are taken"),
        count("dim", 128, "columns that the teacher's head gives"),
        count("head_layers", 2, "layers of the student's head; 0: none", /*least=*/0),
        count("head_hidden", 0, "width of its hidden layers; 0: that of the student's features", /*least=*/0),
        count("small_patches", 0, "views of each image behind the first, with a queue of their own", /*least=*/0)},
       make<SeedMethod>,
       [](const MethodOptions& options) { return 1 + options.whole("small_patches"); }},
      {"compress_1q",
       "Abbasi Koohpayegani et al., CompRess: Self-Supervised Learning by Compressing Representations, NeurIPS 2020",
       {.teacher = true, .queue = true},
       {count("queue", 128000, "features of the teacher that are kept"),
        positive("temperature", 0.04, "temperature of both softmaxes over the queue"),
        count("head_layers", 1, "layers of the student's head to the teacher's width; 0: none", /*least=*/0)},
       make<Compress1qMethod>},
      {"compress_2q",
       "Abbasi Koohpayegani et al., CompRess: Self-Supervised Learning by Compressing Representations, NeurIPS 2020",
       {.teacher = true, .queue = true},
       {count("queue", 128000, "features that are kept, as many of the teacher as of the averaged student"),
        positive("temperature", 0.04, "temperature of both softmaxes over the queues"),
        below_one("momentum", 0.999, "momentum of the averaged student")},
       make<Compress2qMethod>},
      {"moco_v2",
       "Chen et al., Improved Baselines with Momentum Contrastive Learning, arXiv 2003.04297",
       {.queue = true},
       {count("queue", 65536, "keys that are kept"), positive("temperature", 0.2, "the cosines are divided by it"),
        below_one("momentum", 0.999, "momentum of the averaged network that makes the keys"),
        count("dim", 128, "columns of an embedding"),
        count("head_hidden", 0, "width of the head's hidden layer; 0: that of the features", /*least=*/0)},
       make<MocoMethod>,
       two_views},
      {"disco",
       "Gao et al., DisCo: Remedy Self-supervised Learning on Lightweight Models with Distilled Contrastive Learning, "
       "ECCV 2022",
       {.teacher = true, .teacher_head = true, .queue = true},
       {count("queue", 65536, "keys that are kept"),
        positive("temperature", 0.2, "the cosines are divided by it"),
        below_one("momentum", 0.999, "momentum of the averaged student that makes the keys"),
        flag("teacher_head", true, "the head of the teacher's file gives embeddings; else its features are taken"),
        count("dim", 128, "columns that the teacher's head gives"),
        count("head_hidden", 2048, "width of the hidden layer of the student's head; 0: that of its features",
              /*least=*/0),
        {"distance_weight", 32, "weight of the mean squared distances; the authors sum over the 32 images of a GPU"}},
       make<DiscoMethod>,
       two_views},
  };
  return table;
}

std::string values_of(const MethodOption& option) {
  if (option.kind == OptionKind::flag) return "true or false";
  std::string text = option.kind == OptionKind::whole ? "a whole number" : "a number";
  text += fmt::format("{} {:g}", option.least_excluded ? " above" : " of at least", option.least);
  if (option.most < kMostCount)
    text += fmt::format("{} {:g}", option.most_excluded ? " and below" : " and at most", option.most);
  return text;
}

bool MethodOption::takes(double number) const {
  if (kind != OptionKind::number && number != std::floor(number)) return false;
  return (least_excluded ? number > least : number >= least) && (most_excluded ? number < most : number <= most);
}

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
  const auto embedding = options.values.find("embedding");  // then a classifier is trained behind the teacher
  const bool own_logits = info.needs.teacher_logits && (embedding == options.values.end() || embedding->second == 0);
  COSS_CHECK(!own_logits || parts.teacher->classes > 0,
             who + " compares logits, and the teacher's file has no classifier");
  return info.make(options, parts);
}

MethodOptions::MethodOptions(const std::string& method) : name(method) {
  for (const MethodOption& option : find_method(method).options) values[option.name] = option.value;
}

double MethodOptions::operator[](const char* option) const {
  const auto found = values.find(option);
  COSS_ASSERT(found != values.end());
  return found->second;
}

}  // namespace coss
