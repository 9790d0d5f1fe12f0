// TarArchive: where the regular members of a ustar or pax archive lie in their file. Every size is checked against the
// file's before use; links, folders and devices are passed over.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "formats/file_bytes.h"

namespace coss {

struct TarMember {
  int64_t begin = 0, bytes = 0;
};

class TarArchive {
 public:
  // Error that names the file and the member that is not all there.
  explicit TarArchive(const FileBytes& file);
  // Null when there is no such regular member.
  const TarMember* find(const std::string& name) const;

 private:
  std::map<std::string, TarMember> members_;
};

bool looks_like_tar(const FileBytes& file);

}  // namespace coss
