// Method: what one paper needs to train a student, apart from the optimizer, the loop and the files.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "layers/params.h"
#include "losses/options.h"
#include "models/network.h"

namespace coss {

// What a step gives to a method; all on the device.
struct StepInputs {
  std::vector<Tensor> views;  // each (N,S,S,3) compute dtype, normalized: augmented views of the same N images
  Tensor labels;              // (N) i32; -1 where there is none
  Tensor indices;             // (N) i32: the images' places in the data set
  Tensor step;                // i64 (1): updates so far, for dropout and other draws
};

struct LossTerms {
  Var total;      // (1) A, on the tape
  Tensor values;  // (T) A: the terms in the order of Method::term_names(), the total first
  // (N,F) of both backbones, for the figures of health; empty where a method has none.
  Tensor student = {}, teacher = {};

  // The same terms with these features.
  LossTerms with_features(const Var& of_student, const Tensor& of_teacher = {}) const {
    return {total, values, of_student.value, of_teacher};
  }
};

// Who learns in an update. Some methods train layers on the teacher's side, with an optimizer of their own.
enum class Learner : uint8_t { student, companion, both };

class Method {
 public:
  virtual ~Method() = default;
  virtual LossTerms forward(const StepInputs& inputs) = 0;
  virtual std::vector<std::string> term_names() const = 0;

  // Called once, when the parameters have their memory and their first values. Queues, memory banks and averaged
  // networks begin here.
  virtual void prepare(Device, DType, uint64_t /*seed*/) {}
  // What a resumed run needs beside the parameters. Writing into these tensors restores it.
  virtual std::vector<StateTensor> state() { return {}; }
  // Called after each update of the parameters; works on the device and does not wait. For averaged networks.
  virtual void after_update() {}

  // Layers on the teacher's side that learn beside the student; null where there are none. The method's options
  // companion_rate and companion_decay are the constant learning rate and the weight decay of their SGD. Like all
  // parameters they are registered in the constructor and allocated after it, in prepare().
  virtual Params* companion() { return nullptr; }
  // Who learns in the next update, after `updates` of them. learn() tells the method, before the first batch and
  // whenever it changes.
  virtual Learner learner(int64_t /*updates*/) { return companion() ? Learner::both : Learner::student; }
  virtual void learn(Learner) {}
};

// What a method is built from; all of it outlives the method.
struct MethodParts {
  Scope scope;  // for its heads; the student's parameters are registered under scope / "student"
  Network& student;
  Network* teacher = nullptr;  // null where the method needs none
  // The head of the teacher's file, behind the backbone: embedding (N,D) of features (N,F). Null for methods that do
  // not need it.
  std::function<Var(const Var& features)> teacher_head = {};
  // Makes another network like the student's, for averaged copies.
  std::function<std::unique_ptr<Network>(const Scope&)> twin = {};
  // Makes another network like the teacher's, without its weights, for the shapes of its stages. Null without a
  // teacher.
  std::function<std::unique_ptr<Network>(const Scope&)> teacher_twin = {};
  int64_t batch = 0;                 // images in a batch, anchors and neighbors together
  int64_t nearest = 0;               // neighbors of each anchor that follow it in the batch
  int64_t images = 0, classes = 0;   // of the training data
  std::vector<int32_t> labels = {};  // of the training data; -1 where there is none
  int64_t steps_per_epoch = 1, total_steps = 0;
  int64_t image_size = 0;  // of the first view
};

class DrawnInputs;  // losses/frame/drawn.h
using LossCall = std::function<LossTerms()>;

struct MethodInfo {
  const char* name;
  const char* paper;
  struct Needs {
    bool teacher = false, labels = false, teacher_logits = false;
    bool teacher_head = false;  // the one of the teacher's file; not when the option teacher_head is there and 0
    bool queue = false, neighbors = false;
  } needs;
  std::vector<MethodOption> options = {};
  std::function<std::unique_ptr<Method>(const MethodOptions&, const MethodParts&)> make;
  // Views of each image that a step takes; 1 where it is empty.
  std::function<int64_t(const MethodOptions&)> views = {};
  // The loss alone on drawn inputs, for `coss bench losses`; empty where it is the loss of another method.
  std::function<LossCall(DrawnInputs&)> loss_alone = {};
};

// For MethodInfo::make.
template <class M, class Options>
std::unique_ptr<Method> build(const MethodOptions& values, const MethodParts& parts) {
  return std::make_unique<M>(read<Options>(values), parts);
}

const std::vector<MethodInfo>& methods();
bool is_method(const std::string& name);
// Throws Error that names the nearest known method.
const MethodInfo& find_method(const std::string& name);

// A method with the option label_weight needs no labels where that is 0.
bool needs_labels(const MethodOptions& options);
bool needs_teacher_head(const MethodOptions& options);
int64_t views_of(const MethodOptions& options);
// Throws Error when something that the method needs is not there.
std::unique_ptr<Method> make_method(const MethodOptions& options, const MethodParts& parts);

}  // namespace coss
