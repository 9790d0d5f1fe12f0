// The exact state of a run as one file: flat buffers in their own precision, so that a resumed run continues bit for
// bit.
#pragma once
#include <string>

#include "training/step.h"

namespace coss {

void save_trainer_state(const std::string& path, Params& params, const Step& step);
// Fills what save_trainer_state wrote. Throws Error when a tensor is missing or has another size or type.
void load_trainer_state(const std::string& path, Params& params, Step& step);

}  // namespace coss
