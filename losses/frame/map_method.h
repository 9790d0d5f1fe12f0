// The frames of methods that compare feature maps: label_weight * cross-entropy + weight * distance. With label_weight
// 0 no labels are needed.
#pragma once
#include "losses/frame/labels.h"
#include "losses/frame/stages.h"

namespace coss {

class MapMethod : public Method {
 public:
  // `term` names the distance.
  MapMethod(const char* term, const LabeledOptions& weights, const MethodParts& parts);
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override;

 protected:
  // What both networks gave. Nothing of the teacher's is on the tape.
  struct Seen {
    Var student, teacher;  // pooled features
    std::vector<Var> student_stages, teacher_stages;
    const StepInputs& inputs;
  };
  virtual Var distance(const Seen& seen) = 0;

  Network &student_, &teacher_;

 private:
  const char* term_;
  LabeledOptions weights_;
};

// For a distance that is a sum over the pairs of stages that belong together.
class StagesMethod : public MapMethod {
 public:
  // Throws Error, naming the method, when no stages fit (matching_stages).
  StagesMethod(const char* method, const char* term, const LabeledOptions& weights, const MethodParts& parts);

 protected:
  // `pair` counts the pairs from 0.
  virtual Var distance_of(size_t pair, const Var& student, const Var& teacher) = 0;
  Var distance(const Seen& seen) final;

  // Of each pair: (1,H,W,C) of both maps as the networks give them.
  std::vector<std::pair<Shape, Shape>> shapes_;

 private:
  std::vector<std::pair<size_t, size_t>> matching_;
};

}  // namespace coss
