// The exact state of a run in one file. Buffers keep their own precision, so that a resumed run continues bit for bit.
#pragma once
#include <string>

#include "training/step.h"

namespace coss {

// Writes parameters, the step's state and its counters to `path`, a safetensors file.
void save_trainer_state(const std::string& path, Params& params, const Step& step);
// Restores what save_trainer_state wrote. Throws Error if a tensor is missing, has another size or dtype, or if the
// parameters are not finite.
void load_trainer_state(const std::string& path, Params& params, Step& step);

}  // namespace coss
