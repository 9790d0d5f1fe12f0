// CIFAR-10 and CIFAR-100 in their binary version: records of one or two label bytes and 32 x 32 planar RGB.
#pragma once
#include <memory>
#include <string>

#include "data/dataset.h"

namespace coss {

// True when the folder has at least one file of the binary version.
bool is_cifar_folder(const std::string& folder);
OwnSplit split_of_cifar(const std::string& folder);
// Reads the split's files into memory. Throws Error when one is missing, cut short or has an impossible label.
std::unique_ptr<Dataset> open_cifar(const std::string& folder, Split split);

}  // namespace coss
