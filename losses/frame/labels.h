// Labels beside a paper's own loss: weight * loss + label_weight * cross-entropy.
#pragma once
#include "losses/method.h"

namespace coss {

// A method with the option label_weight needs no labels where it is 0.
inline void list_label_weight(OptionList& row, float& label_weight) {
  row.number("label_weight", label_weight, "weight of the cross-entropy with labels; 0: no labels are needed");
}

struct LabeledOptions {
  float weight = 1, label_weight = 1;

  void list(OptionList& row, const char* weight_help) {
    row.number("weight", weight, weight_help);
    list_label_weight(row, label_weight);
  }
};

// Cross-entropy of the student's own classifier behind its features (N,F); empty where label_weight is 0.
Var label_loss(float label_weight, Network& student, const Var& features, const StepInputs& inputs);

}  // namespace coss
