// Writes NumPy's pickles of arrays one after another, so that at most one array is in memory twice.
#include "formats/detectron_writer.h"

#include <cctype>

#include "engine/check.h"
#include "formats/atomic_file.h"
#include "formats/layouts.h"
#include "formats/pickle_writer.h"

namespace coss {
namespace {

// The first protocol of Python 3, and the first that has bytes. Detectron2 needs Python 3 anyway.
constexpr uint8_t kProtocol = 3;

// Pushes dtype('f4') of little-endian numbers.
void push_float_dtype(PickleWriter& pickle) {
  pickle.global("numpy", "dtype");
  pickle.begin();
  pickle.text("f4");
  pickle.boolean(false);
  pickle.boolean(true);
  pickle.end_tuple();
  pickle.call();
  pickle.begin();  // version, byte order, no parts, no names, no fields, size and alignment of the type, flags
  pickle.integer(3);
  pickle.text("<");
  for (int i = 0; i < 3; ++i) pickle.none();
  pickle.integer(-1);
  pickle.integer(-1);
  pickle.integer(0);
  pickle.end_tuple();
  pickle.build();
}

// Uses the name of NumPy 1, which NumPy 2 keeps for older files.
void push_array(PickleWriter& pickle, AtomicFile& file, const std::vector<int64_t>& shape,
                const std::vector<float>& values) {
  pickle.global("numpy.core.multiarray", "_reconstruct");
  pickle.begin();
  pickle.global("numpy", "ndarray");
  pickle.integers({0});
  pickle.bytes(1);
  file.write(pickle.take() + "b");
  pickle.end_tuple();
  pickle.call();
  pickle.begin();  // version, shape, dtype, Fortran order, bytes
  pickle.integer(1);
  pickle.integers(shape);
  push_float_dtype(pickle);
  pickle.boolean(false);
  const size_t bytes = values.size() * sizeof(float);
  pickle.bytes(uint32_t(bytes));
  file.write(pickle.take());
  file.write(values.data(), bytes);
  pickle.end_tuple();
  pickle.build();
}

}  // namespace

std::string detectron_name(const std::string& name) {
  const std::vector<std::string> parts = name_parts(name);
  const auto numbered = [](const std::string& part, const std::string& stem) {
    return part.size() == stem.size() + 1 && part.starts_with(stem) &&
           std::isdigit(static_cast<unsigned char>(part.back()));
  };
  // "conv2" stays, "bn2" becomes "conv2.norm".
  const auto word = [&](const std::string& part) {
    return numbered(part, "conv") ? part : numbered(part, "bn") ? std::string("conv") + part.back() + ".norm" : "";
  };
  if (parts.back() == "num_batches_tracked") return "";
  if (parts.size() == 2 && !word(parts[0]).empty()) return "stem." + word(parts[0]) + "." + parts[1];
  if (parts.size() < 4 || !numbered(parts[0], "layer")) return "";
  const std::string block = "res" + std::to_string(parts[0].back() - '0' + 1) + "." + parts[1] + ".";
  if (parts.size() == 4 && !word(parts[2]).empty()) return block + word(parts[2]) + "." + parts[3];
  if (parts.size() != 5 || parts[2] != "downsample") return "";
  return block + (parts[3] == "0" ? "shortcut." : "shortcut.norm.") + parts[4];
}

void write_detectron(const std::string& path, const std::vector<NamedTensor>& tensors) {
  bool stem = false;  // ImageNet's 7x7; a CIFAR stem is 3x3
  for (const NamedTensor& tensor : tensors) {
    stem |= tensor.name == "conv1.weight" && tensor.shape.size() == 4 && tensor.shape[2] == 7;
    const bool left_out = is_batch_counter(tensor.name) || tensor.name.starts_with("fc.");
    COSS_CHECK(left_out || !detectron_name(tensor.name).empty(),
               path + ": '" + tensor.name + "' is no tensor of a ResNet, and Detectron2's layout is for ResNets only");
    COSS_CHECK(tensor.bytes.size() / size_t(size_of(tensor.dtype)) < (size_t(1) << 30),
               path + ": '" + tensor.name + "' is too large for a pickle");
  }
  COSS_CHECK(stem, path + ": Detectron2's ResNets begin with a 7x7 convolution, and these tensors do not");
  AtomicFile file(path);
  PickleWriter pickle(kProtocol);
  pickle.dictionary();
  pickle.begin();
  pickle.text("model");
  pickle.dictionary();
  pickle.begin();
  for (const NamedTensor& tensor : tensors) {
    const std::string name = detectron_name(tensor.name);
    if (name.empty()) continue;
    pickle.text(name);
    push_array(pickle, file, tensor.shape, floats_from(tensor.bytes, tensor.dtype, path + ": '" + tensor.name + "'"));
  }
  pickle.set_items();
  pickle.text("__author__");
  pickle.text("coss");
  pickle.text("matching_heuristics");
  pickle.boolean(true);
  pickle.set_items();
  pickle.stop();
  file.write(pickle.take());
  file.commit();
}

}  // namespace coss
