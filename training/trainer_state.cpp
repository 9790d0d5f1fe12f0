// Flat ranges, optimizer state, averages and meters are tensors of a safetensors file; counters are its metadata.
#include "training/trainer_state.h"

#include "engine/finite.h"
#include "formats/safetensors.h"

namespace coss {
namespace {

std::vector<StateTensor> all_state(Params& params, const Step& step) {
  std::vector<StateTensor> state = step.state();
  state.push_back({"params.weights", params.weights().value});
  state.push_back({"params.rest", params.rest().value});
  state.push_back({"params.stats", params.stats()});
  return state;
}

FileDType file_dtype(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return FileDType::f32;
    case DType::bf16:
      return FileDType::bf16;
    case DType::f16:
      return FileDType::f16;
    case DType::f64:
      return FileDType::f64;
    case DType::i32:
      return FileDType::i32;
    case DType::i64:
      return FileDType::i64;
    case DType::u8:
      return FileDType::u8;
  }
  return FileDType::u8;
}

}  // namespace

void save_trainer_state(const std::string& path, Params& params, const Step& step) {
  std::vector<NamedTensor> tensors;
  for (const StateTensor& part : all_state(params, step)) {
    if (part.tensor.empty()) continue;
    NamedTensor tensor{part.name, file_dtype(part.tensor.dtype()), {part.tensor.numel()}, {}};
    tensor.bytes.resize(part.tensor.bytes());
    kernels(part.tensor).download(context(part.tensor.device()), part.tensor, tensor.bytes.data());
    tensors.push_back(std::move(tensor));
  }
  // The second name is that of earlier versions, whose runs are resumed too.
  write_safetensors(path, tensors,
                    {{"updates", std::to_string(step.updates())},
                     {"batches_since_read", std::to_string(step.micro_batches_since_read())}});
}

void load_trainer_state(const std::string& path, Params& params, Step& step) {
  const TensorFile file = open_tensor_file(path);
  auto counter = [&](const char* name) {
    const auto it = file.metadata().find(name);
    COSS_CHECK(it != file.metadata().end(), path + ": the counter '" + name + "' is missing; this is no trainer state");
    return std::stoll(it->second);
  };
  for (StateTensor part : all_state(params, step)) {
    if (part.tensor.empty()) continue;
    const FileTensor* stored = file.find(part.name);
    COSS_CHECK(stored, path + ": '" + part.name + "' is missing; the recipe has changed since it was written");
    COSS_CHECK(stored->dtype == file_dtype(part.tensor.dtype()) && stored->bytes() == int64_t(part.tensor.bytes()),
               path + ": '" + part.name + "' has another size; the recipe has changed since it was written");
    const std::vector<uint8_t> bytes = file.read_bytes(*stored);
    if (part.name.starts_with("params.") && part.tensor.dtype() == DType::f32) {
      const NotFinite bad = not_finite(reinterpret_cast<const float*>(bytes.data()), part.tensor.numel());
      COSS_CHECK(bad.count == 0, path + ": " + std::to_string(bad.count) + " of the " +
                                     std::to_string(part.tensor.numel()) + " numbers of '" + part.name +
                                     "' are not finite: the run had diverged when it was written; remove this "
                                     "checkpoint's folder to continue from the one before");
    }
    kernels(part.tensor).upload(context(part.tensor.device()), bytes.data(), part.tensor);
  }
  params.refresh_compute();
  step.restore(counter("updates"), counter("batches_since_read"));
}

}  // namespace coss
