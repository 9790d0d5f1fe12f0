// CRD (Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR 2020, arXiv 1910.10699): the student's
// embedding of an image is told apart from the teacher's embeddings of `negatives` other images, and the other way
// round. Memory banks hold an embedding of every training image.
//
//   e = Linear(features, dim) of unit length, both sides; P = exp(e_i b_j / temperature) / Z, b of the other side's
//   bank; L = mean over i of -log(P_i / (P_i + mu)) - sum over negatives j of log(mu / (P_j + mu)), both sides added;
//   mu = negatives / images, 1e-7 more in the denominators; Z = mean(exp) * images in the first batch, then constant.
//
// total = weight * L + label_weight * cross-entropy, as RepDistiller's `-r 1 -a 0 -b 0.8`. Negatives are drawn from
// other classes. While there are enough, none is drawn twice; the official code repeats as soon as there are fewer.
// With label_weight 0 no label is read, and negatives are any other images. Both embeddings and the banks' rows are in
// the accumulator's dtype. After the loss each image's row becomes unit(momentum * row + (1 - momentum) * embedding).
#pragma once
#include "losses/method.h"

namespace coss {

// The images by class: those of class c are order[begin[c]] … order[begin[c + 1] - 1].
struct ClassOrder {
  Tensor order, begin;  // i32
};
ClassOrder order_by_class(const std::vector<int32_t>& labels, int64_t classes, Device device);

// What CRD keeps from step to step; all in the accumulator's dtype.
struct CrdBanks {
  Tensor student, teacher;  // (images, dim)
  Tensor constants;         // (2); 0: to be set from the next batch
};

// The loss alone: student, teacher (N,dim) of unit length in the accumulator's dtype, both on the tape; indices and
// labels (N) i32. values: {total, student, teacher}. Moves no bank.
LossTerms crd_loss(const BankContrastParams& params, const Tensor& step, const Tensor& indices, const Tensor& labels,
                   const ClassOrder& images, const Var& student, const Var& teacher, CrdBanks& banks);

MethodInfo crd_method();

}  // namespace coss
