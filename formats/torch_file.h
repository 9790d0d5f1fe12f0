// PyTorch's containers. They are recognized by their bytes and read into the same parts as every tensor file.
#pragma once
#include <memory>

#include "formats/file_bytes.h"
#include "formats/tensor_file.h"
#include "formats/zip_archive.h"

namespace coss {

// torch.save since 1.6: a zip archive with data.pkl and one entry per storage; torch.jit.save's archives likewise.
TensorFileParts read_torch_zip(std::shared_ptr<const ZipArchive> archive);

// torch.save before 1.6: five pickles, then the storages one after another.
bool looks_like_torch_legacy(const FileBytes& file);
TensorFileParts read_torch_legacy(std::shared_ptr<const FileBytes> file);

// torch.save up to 0.1.9: a tar archive of four members.
TensorFileParts read_torch_tar(std::shared_ptr<const FileBytes> file);

}  // namespace coss
