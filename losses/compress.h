// CompRess (Abbasi Koohpayegani et al., "CompRess: Self-Supervised Learning by Compressing Representations", NeurIPS
// 2020, arXiv 2010.14713): the student's similarities with a queue follow the teacher's. An image is not compared with
// itself.
//
// With features of unit length, L = mean over images of KL(softmax(f_t M_t / temperature), softmax(f_s M_s /
// temperature)). In compress_1q, M_s = M_t is a queue of the teacher's features, and a linear layer brings the
// student's features to their width. In compress_2q, M_s is a queue of the same images' features from an averaged copy
// of the student. The images of a batch enter the queues after its loss. All networks see the same view.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: features (N,D) and (N,E) of any length, queues (K,D) and (K,E) of unit length. values: {total}
LossTerms compress_loss(float temperature, const Var& student, const Tensor& student_queue, const Tensor& teacher,
                        const Tensor& teacher_queue);

MethodInfo compress_1q_method();
MethodInfo compress_2q_method();

}  // namespace coss
