// Classifier: the linear layer behind the pooled features. A backbone is made with 0 classes and has none.
#pragma once
#include <memory>
#include <string>

#include "layers/linear.h"

namespace coss {

class Classifier {
 public:
  // Registers scope/name.{weight,bias}, unless options.out is 0.
  Classifier(const Scope& scope, const std::string& name, const LinearOptions& options) {
    if (options.out > 0) linear_ = std::make_unique<Linear>(scope, name, options);
  }
  // (N,in) -> (N,out). Throws Error if there is none.
  Var operator()(const Var& features) const {
    COSS_CHECK(linear_, "this network was made without a classifier");
    return (*linear_)(features);
  }

 private:
  std::unique_ptr<Linear> linear_;
};

}  // namespace coss
