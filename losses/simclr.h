// SimCLR (Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020): two views
// of each image find each other among all views of the batch, without labels or teacher. NT-Xent: the mean over all 2N
// views of the cross-entropy of softmax(cosine / temperature) over the other 2N - 1 views, for the partner.
//
// As in the authors' program both views are one batch of the network, so that batch norm sees them together, and the
// projection head has a batch norm between its layers, which the paper's figure does not show.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: rows (2N,D) of an accumulator dtype, of any length; row i and row i + N are partners. values:
// {total}.
LossTerms nt_xent_loss(float temperature, const Var& rows);

MethodInfo simclr_method();

}  // namespace coss
