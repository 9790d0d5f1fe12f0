// NumPy's files as named tensors: the entries of a .npz archive, stored or deflated, and a lone .npy.
#pragma once
#include <memory>

#include "formats/tensor_file.h"
#include "formats/zip_archive.h"

namespace coss {

// A zip archive with entries "<name>.npy" and without a PyTorch pickle.
bool looks_like_npz(const ZipArchive& archive);
TensorFileParts read_npz(std::shared_ptr<const ZipArchive> archive);

// A lone .npy; its tensor has the name "tensor".
bool looks_like_npy(const FileBytes& file);
TensorFileParts read_npy_tensor(std::shared_ptr<const FileBytes> file);

}  // namespace coss
