// Setting up a run, its loop, its reports and its end.
#include "training/trainer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>

#include "evaluation/knn.h"
#include "evaluation/neighbors.h"
#include "evaluation/signals.h"
#include "formats/npy.h"
#include "formats/weights.h"
#include "training/trainer_state.h"

namespace coss {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// True every `every` steps; 0 means never.
bool is_due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

}  // namespace

struct Trainer::Window {
  double begin = now(), waited = 0;
  int64_t images = 0;
  // Over the whole process.
  double run_begin = now();
  int64_t run_images = 0;
};

Trainer::Trainer(ResolvedRecipe recipe) : recipe_(std::move(recipe)) {
  open_data();
  count_steps();
  read_teacher();
  make_student();
  make_the_method();
  recipe_.teacher.reset();
  recipe_.student.reset();
  make_step();
  if (config_.neighbors.nearest == 0 || !config_.neighbors.file.empty()) make_sampler(config_.neighbors.file);
}

Trainer::~Trainer() = default;

void Trainer::open_data() {
  const DataConfig& data = config_.data;
  const DataSource source{data.path, data.test, data.split, data.split_seed};
  const bool checks_knn = config_.knn.every_epochs > 0 || config_.knn.every_steps > 0;
  if (checks_knn && has_test_images(source)) {
    TrainAndTest both = open_both(source);
    train_set_ = std::move(both.train);
    test_set_ = std::move(both.test);
  } else {
    train_set_ = open_dataset(source, Split::train);
  }
  if (checks_knn) {
    COSS_CHECK(train_set_->classes() > 0, "knn.every_epochs needs labels, and " + data.path +
                                              " has none: set knn.every_epochs=0 and knn.every_steps=0");
    COSS_CHECK(
        test_set_,
        data.path +
            " is not split into training and test images, and training images must not grade themselves: add "
            "data.test=PATH (another folder or list) or data.split=0.2 (holds out a share of each class), or set "
            "knn.every_epochs=0 and knn.every_steps=0");
  }
  COSS_CHECK(!needs_labels(config_.method) || train_set_->classes() > 0,
             fmt::format("method {} needs labels, and {} has none", config_.method.name, data.path));
}

void Trainer::count_steps() {
  const int64_t anchors = recipe_.micro_anchors;
  COSS_CHECK(train_set_->size() >= anchors,
             fmt::format("train.batch: a batch needs {} anchors, and {} has {} images: use a smaller batch", anchors,
                         config_.data.path, train_set_->size()));
  micro_batches_per_epoch_ = train_set_->size() / anchors;
  steps_per_epoch_ = std::max<int64_t>(1, micro_batches_per_epoch_ / config_.train.accumulate);
  total_steps_ = config_.train.max_steps > 0 ? config_.train.max_steps : config_.train.epochs * steps_per_epoch_;
}

void Trainer::read_teacher() {
  if (!recipe_.teacher) return;
  teacher_ = load_network(*recipe_.teacher, Classifier::optional, recipe_.device, recipe_.dtype);
  teacher_->take_images_of(recipe_.normalization);
  if (needs_teacher_head(config_.method)) teacher_head_ = load_head(*recipe_.teacher, recipe_.device, recipe_.dtype);
}

void Trainer::make_student() {
  student_model_ = recipe_.student ? recipe_.student->facts().model : config_.student.model;
  const ModelInfo& model = find_model(student_model_);
  student_classes_ = config_.student.classes > 0    ? config_.student.classes
                     : needs_labels(config_.method) ? train_set_->classes()
                                                    : model.classes;
  student_ = model.make(Scope(params_) / "student", student_classes_);
}

// The method and its heads, then memory and first values of all parameters.
void Trainer::make_the_method() {
  const Scope scope(params_);
  MethodParts parts{.scope = scope, .student = *student_};
  if (teacher_) parts.teacher = teacher_->network.get();
  if (teacher_head_)
    parts.teacher_head = [head = teacher_head_->head.get()](const Var& x) { return (*head)(x, Mode::eval); };
  if (teacher_)
    parts.teacher_twin = [model = teacher_->model](const Scope& at) { return find_model(model).make(at, 0); };
  parts.twin = [model = student_model_, classes = student_classes_](const Scope& at) {
    return find_model(model).make(at, classes);
  };
  parts.nearest = config_.neighbors.nearest;
  parts.batch = recipe_.micro_batch;
  parts.images = train_set_->size();
  parts.classes = train_set_->classes();
  for (int64_t i = 0; i < parts.images; ++i) parts.labels.push_back(train_set_->label(i));
  parts.steps_per_epoch = steps_per_epoch_;
  parts.total_steps = total_steps_;
  parts.image_size = recipe_.views.front().image_size;
  method_ = make_method(config_.method, parts);
  params_.allocate(recipe_.device, recipe_.dtype, config_.seed);
  if (!recipe_.student) return;
  const std::string& note = recipe_.student->facts().note;
  const WeightReport report = recipe_.student->load_into(params_, "student", Classifier::optional);
  student_report_ = (note.empty() ? "" : note + "; ") + report.str();
}

void Trainer::make_step() {
  method_->prepare(recipe_.device, recipe_.dtype, config_.seed);
  optimizer_ = make_optimizer(config_.optimizer, params_);
  StepOptions options{recipe_.device, recipe_.dtype, {}, recipe_.normalization};
  for (const ViewConfig& view : recipe_.views) options.image_sizes.push_back(int32_t(view.image_size));
  options.accumulate = config_.train.accumulate;
  options.clip_norm = config_.train.clip_norm;
  options.ema_decay = config_.train.ema_decay;
  if (method_->companion()) {
    options.companion_rate = config_.method["companion_rate"];
    options.companion_decay = config_.method["companion_decay"];
  }
  step_ = std::make_unique<Step>(*method_, params_, *optimizer_, options);
}

std::string Trainer::summary() const {
  std::string text =
      fmt::format("data     {}: {} training images, {} classes{}\n", config_.data.path, train_set_->size(),
                  train_set_->classes(), test_set_ ? fmt::format("; {} test images", test_set_->size()) : "");
  if (!train_set_->notes().empty()) text += fmt::format("         {}\n", train_set_->notes());
  if (teacher_)
    text += fmt::format("teacher  {}: {} features, {}\n{}\n", teacher_->model, (*teacher_)->feature_width,
                        config_.teacher.weights, teacher_->report);
  text += fmt::format("student  {}: {} features, {} trainable parameters, heads included\n", student_model_,
                      student_->feature_width, params_.count());
  if (!student_report_.empty()) text += student_report_ + "\n";
  text += fmt::format("run      {} steps of {} images, {} steps an epoch, {} on {}", total_steps_, config_.train.batch,
                      steps_per_epoch_, config_.dtype, config_.device);
  return text;
}

size_t Trainer::rehearse() {
  std::optional<PlanScope> plans;
  if (recipe_.device == Device::dry) plans.emplace();
  step_->rehearse(recipe_.micro_batch);
  const Pool* own = step_->own_pool();
  return context(recipe_.device).pool().bytes_peak() + (own ? own->bytes_peak() : 0);
}

TrainResult Trainer::run(RunFolder& folder, Progress& progress) {
  if (!sampler_) {
    const std::string file = folder.path() + "/neighbors.npy";
    if (!std::filesystem::exists(file)) mine_neighbors(file, progress);
    folder.keep();
    make_sampler(file);
  }
  if (const auto checkpoint = folder.last_checkpoint()) {
    load(*checkpoint);
    folder.truncate_metrics(step_->updates());
    progress.message(fmt::format("resumed from {} at step {}", checkpoint->path, step_->updates()));
  }
  LoaderOptions loading;
  for (const ViewConfig& view : recipe_.views)
    loading.views.push_back({find_augmentation(view.augmentation), int32_t(view.image_size)});
  loading.seed = config_.seed;
  loading.workers = config_.data.workers;
  loading.max_broken_share = config_.data.broken;
  loading.log = [&](const std::string& line) { folder.log(line); };
  struct LoaderScope {  // the loader's threads write to the folder's log, so they must end before the folder does
    std::unique_ptr<Loader>& loader;
    ~LoaderScope() { loader.reset(); }
  };
  const LoaderScope scope{loader_};
  loader_ = std::make_unique<Loader>(*train_set_, *sampler_, loading);
  const int64_t accumulate = config_.train.accumulate, first = step_->updates() * accumulate;
  loader_->start(first / micro_batches_per_epoch_, first % micro_batches_per_epoch_);

  window_ = std::make_unique<Window>();
  while (step_->updates() < total_steps_ && !interrupted()) {
    for (int64_t i = 0; i < accumulate; ++i) {
      const Batch* batch = loader_->next();
      step_->run(*batch);
      window_->images += int64_t(batch->indices.size());
    }
    const double rate = learning_rate(config_.schedule, step_->updates(), steps_per_epoch_, total_steps_);
    step_->update(rate);
    folder.keep();

    const int64_t done = step_->updates();
    if (is_due(done, config_.log.every_steps) || done == total_steps_) report(folder, progress, rate);
    if (is_due(done, config_.knn.every_steps) || is_due(done, config_.knn.every_epochs * steps_per_epoch_)) {
      try {
        knn_check(folder, progress);
      } catch (const Interrupted&) {
        break;  // without the check's result; the step is kept
      }
    }
    const bool wanted = checkpoint_requested() || is_due(done, config_.checkpoint.every_steps);
    if (wanted && done < total_steps_) save(folder);
  }

  if (step_->updates() == 0) stop_if_interrupted();  // there is nothing to keep
  TrainResult result;
  result.steps = step_->updates();
  result.interrupted = result.steps < total_steps_;
  const auto last = folder.last_checkpoint();
  if (!last || last->step != result.steps) save(folder);
  if (!result.interrupted) {
    result.student = folder.path() + "/student.safetensors";
    folder.check_in_place();
    save_students(folder.path());
  }
  window_->run_images += window_->images;
  result.seconds = now() - window_->run_begin;
  result.images_per_second = double(window_->run_images) / std::max(result.seconds, 1e-9);
  result.last = last_;
  return result;
}

void Trainer::make_sampler(const std::string& neighbors) {
  const int64_t nearest = config_.neighbors.nearest;
  if (nearest == 0) {
    sampler_ = std::make_unique<ShuffledSampler>(train_set_->size(), recipe_.micro_batch, config_.seed);
    return;
  }
  const NpyArray array = read_npy(neighbors);
  COSS_CHECK(
      array.dtype == FileDType::i32 && array.shape.size() == 2 && array.shape[0] == train_set_->size(),
      fmt::format("{}: expected neighbors of {} images as 32-bit integers, found {} {}; make it with 'coss mine{}' "
                  "from the same images",
                  neighbors, train_set_->size(), name_of(array.dtype), shape_text(array.shape),
                  config_.data.split > 0
                      ? fmt::format(" --split {} --split-seed {}", config_.data.split, config_.data.split_seed)
                      : ""));
  const auto* numbers = reinterpret_cast<const int32_t*>(array.bytes.data());
  sampler_ = std::make_unique<NeighborSampler>(std::vector<int32_t>(numbers, numbers + array.shape[0] * array.shape[1]),
                                               train_set_->size(), recipe_.micro_anchors, nearest,
                                               config_.neighbors.pool, config_.seed, config_.neighbors.unique);
}

FeatureOptions Trainer::feature_options(std::function<void(const std::string&)> log) const {
  FeatureOptions options;
  options.image_size = int32_t(config_.data.image_size);
  options.workers = config_.data.workers;
  options.max_broken_share = config_.data.broken;
  options.normalization = recipe_.normalization;
  options.log = std::move(log);
  return options;
}

void Trainer::mine_neighbors(const std::string& out, Progress& progress) {
  COSS_CHECK(teacher_, "neighbors.nearest needs a teacher to mine with: set neighbors.file or neighbors.nearest=0");
  progress.message("mining neighbors with the teacher");
  MiningOptions mining;
  mining.k = config_.neighbors.pool;
  mining.device = recipe_.device;
  const FeatureOptions options = feature_options([&](const std::string& line) { progress.message(line); });
  mine_network(**teacher_, *train_set_, recipe_.dtype, options, out, mining);
}

void Trainer::check_finite(const RunFolder& folder) const {
  const int64_t bad = step_->first_bad_step(), bad_teacher = step_->first_bad_teacher_step();
  COSS_CHECK(
      bad_teacher < 0 || (bad >= 0 && bad < bad_teacher),
      fmt::format("the features of the teacher {} are not finite in step {}: usually its weights {} are damaged, "
                  "data.mean and data.stddev are not those of the images that it was trained on, or fp16 "
                  "overflows (then set dtype=fp32)",
                  config_.teacher.model, bad_teacher + 1, config_.teacher.weights));
  if (bad < 0) return;
  const auto good = folder.last_checkpoint();
  throw Error(
      fmt::format("the loss of step {} is not a finite number; last good checkpoint: {}. A lower "
                  "schedule.learning_rate, train.clip_norm=1 or dtype=fp32 usually helps",
                  bad + 1, good ? good->path : "none"));
}

void Trainer::report(RunFolder& folder, Progress& progress, double rate) {
  check_finite(folder);
  const StepMeans means = step_->read();
  const double seconds = now() - window_->begin, waited = loader_->seconds_waited();
  ProgressState state;
  state.step = step_->updates();
  state.steps = total_steps_;
  state.learning_rate = rate;
  state.images_per_second = double(window_->images) / std::max(seconds, 1e-9);
  state.wait_share = (waited - window_->waited) / std::max(seconds, 1e-9);
  state.seconds_left =
      double((total_steps_ - state.step) * config_.train.batch) / std::max(state.images_per_second, 1e-9);
  const std::vector<std::string> names = method_->term_names();
  for (size_t i = 0; i < names.size(); ++i) state.numbers.emplace_back(names[i], means.terms[i]);
  state.numbers.emplace_back("gradient_norm", means.gradient_norm);
  progress.show(state);
  folder.log(format_progress(state));

  std::vector<std::pair<std::string, double>> values = state.numbers;
  values.emplace_back("epoch", double(state.step) / double(steps_per_epoch_));
  values.emplace_back("learning_rate", rate);
  values.emplace_back("images_per_second", state.images_per_second);
  values.emplace_back("wait_share", state.wait_share);
  const Health health = measure_health(step_->student_features(), step_->teacher_features());
  for (const auto& number : health.numbers()) values.push_back(number);
  if (method_->learner(state.step - 1) != Learner::companion)  // else the student is meant to stand still
    for (const std::string& warning : health_watch_.look(state.step, health, means.gradient_norm)) {
      progress.message(warning);
      folder.log(warning);
    }
  folder.metrics(state.step, values);
  for (const auto& [name, value] : values) last_[name] = value;

  window_->run_images += window_->images;
  window_->images = 0;
  window_->waited = waited;
  window_->begin = now();
}

void Trainer::knn_check(RunFolder& folder, Progress& progress) {
  check_finite(folder);  // its message says more than one about the features would
  const FeatureOptions options = feature_options([&](const std::string& line) { folder.log(line); });
  const double begin = now();
  const Features train = extract_features(*student_, *train_set_, recipe_.device, recipe_.dtype, options);
  const Features test = extract_features(*student_, *test_set_, recipe_.device, recipe_.dtype, options);
  KnnOptions knn;
  knn.k = {config_.knn.k};
  knn.device = recipe_.device;
  const double accuracy = knn_accuracy(train, test, knn).begin()->second;
  const std::string line =
      fmt::format("step {}: kNN accuracy of the student {:.2f} % (k = {})", step_->updates(), accuracy, config_.knn.k);
  progress.message(line);
  folder.log(line);
  folder.metrics(step_->updates(), {{"knn", accuracy}});
  last_["knn"] = accuracy;
  window_->begin += now() - begin;  // the check is not training time
}

void Trainer::save_student(const std::string& path) {
  const bool trained = needs_labels(config_.method) || find_method(config_.method.name).needs.teacher_logits;
  save_weights(path, params_, "student",
               {{"model", student_model_},
                {"method", config_.method.name},
                {"step", std::to_string(step_->updates())},
                {"classifier", trained ? "trained" : "untrained"},
                {"image_mean", channels_text(recipe_.normalization.mean)},
                {"image_stddev", channels_text(recipe_.normalization.stddev)}});
}

void Trainer::save_students(const std::string& place) {
  save_student(place + "/student.safetensors");
  if (Ema* ema = step_->ema()) {
    ema->swap(params_);
    save_student(place + "/student_ema.safetensors");
    ema->swap(params_);
  }
}

void Trainer::save(RunFolder& folder) {
  check_finite(folder);
  const std::string path = folder.write_checkpoint(step_->updates(), [&](const std::string& place) {
    save_students(place);
    save_trainer_state(place + "/trainer.safetensors", params_, *step_);
  });
  folder.prune(config_.checkpoint.keep);
  folder.log("wrote " + path);
}

void Trainer::load(const RunCheckpoint& checkpoint) {
  load_trainer_state(checkpoint.path + "/trainer.safetensors", params_, *step_);
  COSS_CHECK(step_->updates() == checkpoint.step, checkpoint.path + ": its name says another step than its content");
}

}  // namespace coss
