// The numbers of one parameter: where each stands in a file and in the engine, and moving them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "formats/tensor_file.h"
#include "layers/params.h"

namespace coss {

// The parameter's shape in PyTorch's files.
std::vector<int64_t> file_shape(const Params::Entry& entry);

// `there`, entry.shape.numel() numbers in the file's order, to `here` in the engine's, and back.
void to_engine_order(const Params::Entry& entry, const float* there, float* here);
void to_file_order(const Params::Entry& entry, const float* here, float* there);

// Error that names file and tensor where one of its `values` is NaN or infinite, or negative in a running variance, as
// the name of the parameter that it fills says.
void check_numbers(const TensorFile& file, const FileTensor& tensor, const std::string& parameter, const float* values);

// One parameter and the tensor of the file that fills it.
struct Filling {
  const Params::Entry* entry;
  const FileTensor* tensor;
};
// Reads and writes them all, on the threads of the CPU kernels. Beside the parameters it needs memory for one tensor a
// thread. Throws what reading and check_numbers throw; some are filled by then.
void fill_params(const TensorFile& file, const std::vector<Filling>& fillings, Params& params);

}  // namespace coss
