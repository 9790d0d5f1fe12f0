// The table of losses, one entry each: its inputs and its call.
#include "tools/bench/loss_cases.h"

#include "autograd/ops.h"
#include "losses/at.h"
#include "losses/byol.h"
#include "losses/cc.h"
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
#include "losses/smd.h"
#include "losses/sp.h"
#include "losses/vid.h"

namespace coss {
namespace {

// Labels of ten classes, in turn.
std::vector<int32_t> classes_of(int64_t images) {
  std::vector<int32_t> classes;
  for (int64_t i = 0; i < images; ++i) classes.push_back(int32_t(i % 10));
  return classes;
}

LossCall crd(LossInputs& in) {
  std::vector<int32_t> indices;
  for (int64_t i = 0; i < in.n; ++i) indices.push_back(int32_t(i));
  const Tensor places = Tensor::from(indices, {in.n}, in.device);
  const Tensor step = Tensor::from(std::vector<int64_t>{1}, {1}, in.device);
  const ClassOrder images = order_by_class(classes_of(in.sizes.bank), 10, in.device);
  const int64_t bank = in.sizes.bank, width = in.sizes.queue_width;
  CrdBanks banks{in.directions(bank, width), in.directions(bank, width),
                 Tensor::from(std::vector<float>{0, 0}, {2}, in.device)};
  return [=, s = in.student_embedding(), t = in.variable(in.teacher_embedding()), labels = in.labels(),
          params = BankContrastParams{.negatives = in.sizes.negatives}]() mutable {
    return crd_loss(params, step, places, labels, images, normalize_rows(kSmallestNorm, s),
                    normalize_rows(kSmallestNorm, t), banks);
  };
}

}  // namespace

Tensor LossInputs::constant(const Shape& shape) {
  Tensor x(shape, DType::f32, device);
  kernels(device).random_normal(context(device), /*seed=*/0, ++stream_, 0, 1, x);
  return x;
}

Tensor LossInputs::directions(int64_t rows, int64_t width) {
  const Tensor x = constant({rows, width});
  Tensor y(x.shape(), DType::f32, device);
  kernels(device).normalize_rows(context(device), kSmallestNorm, x, y);
  return y;
}

Var LossInputs::variable(const Tensor& value) {
  places_.push_back(std::make_shared<Grad>());
  return Var(value, places_.back());
}

Tensor LossInputs::labels() const { return Tensor::from(classes_of(n), {n}, device); }

void LossInputs::forget_gradients() {
  for (const auto& place : places_) place->value = {};
}

const std::vector<LossCase>& loss_cases() {
  using In = LossInputs;
  using Call = LossCall;
  static const std::vector<LossCase> table{
      {"coss",
       [](In& in) -> Call { return [s = in.student(), t = in.teacher()] { return coss_loss({.scale = 100}, s, t); }; }},
      {"dino", [](In& in) -> Call { return [s = in.student(), t = in.teacher()] { return dino_loss({}, s, t); }; }},
      {"dinoss",
       [](In& in) -> Call { return [s = in.student(), t = in.teacher()] { return dinoss_loss({}, 0.5f, s, t); }; }},
      {"dist",
       [](In& in) -> Call {
         return [s = in.student(), t = in.teacher()] { return dist_loss({.temperatures = {1, 1}}, s, t); };
       }},
      {"kd",
       [](In& in) -> Call { return [s = in.student_logits(), t = in.teacher_logits()] { return kd_loss(4, s, t); }; }},
      {"dkd",
       [](In& in) -> Call {
         return [s = in.student_logits(), t = in.teacher_logits(), labels = in.labels()] {
           return dkd_loss({}, s, t, labels);
         };
       }},
      {"fitnet",
       [](In& in) -> Call { return [s = in.student_map(), t = in.teacher_map()] { return mse_loss(s, t); }; }},
      {"at", [](In& in) -> Call { return [s = in.student_map(), t = in.teacher_map()] { return at_loss(s, t); }; }},
      {"nst", [](In& in) -> Call { return [s = in.student_map(), t = in.teacher_map()] { return nst_loss(s, t); }; }},
      {"vid",
       [](In& in) -> Call {
         const Var spread = in.variable(in.constant({in.sizes.channels}));
         return [s = in.student_map(), t = in.teacher_map(), spread] { return vid_loss(s, spread, t); };
       }},
      {"ft",
       [](In& in) -> Call {
         return [s = in.student_map(), t = in.teacher_map()] { return ft_loss(/*whole=*/false, s, t); };
       }},
      {"sp", [](In& in) -> Call { return [s = in.student(), t = in.teacher()] { return sp_loss(s, t); }; }},
      {"pkt", [](In& in) -> Call { return [s = in.student(), t = in.teacher()] { return pkt_loss(s, t); }; }},
      {"rkd", [](In& in) -> Call { return [s = in.student(), t = in.teacher()] { return rkd_loss({}, s, t); }; }},
      {"irg", [](In& in) -> Call { return [s = in.student(), t = in.teacher()] { return irg_loss(s, t); }; }},
      {"ega", [](In& in) -> Call { return [s = in.student(), t = in.teacher()] { return ega_loss({}, s, t); }; }},
      {"nce",
       [](In& in) -> Call {
         return [s = in.student(), t = in.teacher(), labels = in.labels()] { return nce_loss(0.1f, s, t, labels); };
       }},
      {"cc",
       [](In& in) -> Call {
         return [s = in.student_embedding(), t = in.variable(in.teacher_embedding())] { return cc_loss(s, t); };
       }},
      {"smd",
       [](In& in) -> Call {
         const Tensor no_cosine = Tensor::from(std::vector<float>{0}, {1}, in.device);
         return [s = in.student(), t = in.teacher(), no_cosine] { return smd_loss(0.04f, no_cosine, s, t); };
       }},
      {"simclr",
       [](In& in) -> Call {
         const Var rows = in.variable(in.constant({2 * in.n, in.sizes.queue_width}));
         return [rows] { return nt_xent_loss(0.1f, rows); };
       }},
      {"seed",
       [](In& in) -> Call {
         return [s = in.student_embedding(), t = in.teacher_embedding(), queue = in.queue()] {
           return seed_loss({.student_temperature = 0.2f, .teacher_temperature = 0.01f}, s, t, queue);
         };
       }},
      {"compress_2q",
       [](In& in) -> Call {
         return [s = in.student_embedding(), t = in.teacher_embedding(), own = in.queue(), other = in.queue()] {
           return compress_loss(0.04f, s, own, t, other);
         };
       }},
      {"moco_v2",
       [](In& in) -> Call {
         return [s = in.student_embedding(), t = in.teacher_embedding(), queue = in.queue()] {
           return info_nce_loss(0.2f, s, t, queue);
         };
       }},
      {"byol",
       [](In& in) -> Call {
         return [a = in.student_embedding(), b = in.student_embedding(), c = in.teacher_embedding(),
                 d = in.teacher_embedding()] { return byol_loss(a, c, b, d); };
       }},
      {"crd", crd},
  };
  return table;
}

}  // namespace coss
