// NCE with labels, as EGA (BMVC 2022, arXiv 2211.13264) compares itself with it: images of one class attract each other
// across the networks, others repel each other. With p = softmax over the batch's teacher rows of cosine / temperature,
// the loss is the mean over images of mean_same(-log(p + 1e-10)) + mean_other(-log(1 - p + 1e-10)).
//
// As in EGA's program each network has a view of its own (method.teacher_view) and an embedding, one linear layer each;
// the teacher's learns beside the student by its own classifier and nothing else. Here the student's classifier stands
// on its features, not on its embedding, so that the trained network is complete without it. The program divides 0 by 0
// where a batch has one class only; here the mean over no images is 0.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student, teacher (N,D) of one accumulator dtype, of any length; labels (N) i32. values: {total}.
LossTerms nce_loss(float temperature, const Var& student, const Tensor& teacher, const Tensor& labels);

MethodInfo nce_method();

}  // namespace coss
