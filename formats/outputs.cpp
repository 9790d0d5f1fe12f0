// The checks of an output path, each with its own message.
#include "formats/outputs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/check.h"

namespace coss {

namespace fs = std::filesystem;

namespace {

// Whether `path`, which exists, lies in `folder` or below it.
bool is_inside(const std::string& path, const std::string& folder) {
  std::error_code failed;
  const fs::path file = fs::canonical(path, failed), place = fs::canonical(folder, failed);
  return !failed && std::mismatch(place.begin(), place.end(), file.begin(), file.end()).first == place.end();
}

}  // namespace

void check_output(const std::string& out, const std::vector<std::string>& inputs, bool force) {
  std::error_code ignored;
  COSS_CHECK(!fs::is_directory(out, ignored), out + " is a folder: name a file in it");
  COSS_CHECK(fs::path(out).has_filename(), fmt::format("'{}' names no file to write", out));
  // A link that leads nowhere counts as existing, too.
  const bool there = fs::exists(fs::symlink_status(out, ignored));
  for (const std::string& input : inputs) {
    if (!there || input.empty()) continue;
    COSS_CHECK(!fs::equivalent(out, input, ignored),
               fmt::format("{} is the input itself, {}: name another file", out, input));
    COSS_CHECK(!fs::is_directory(input, ignored) || !is_inside(out, input),
               fmt::format("{} is a file in the input folder {}: name another file, or remove it first", out, input));
  }
  COSS_CHECK(!there || fs::is_symlink(out, ignored) || fs::is_regular_file(out, ignored),
             out + " is no regular file: name another file");
  COSS_CHECK(!there || force, out + " is there already: name another file, or replace it with --force");

  const fs::path parent = fs::path(out).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  COSS_CHECK(fs::exists(folder, ignored),
             fmt::format("{} cannot be written: the folder {} does not exist; make it first", out, folder));
  COSS_CHECK(fs::is_directory(folder, ignored), fmt::format("{} cannot be written: {} is no folder", out, folder));
  COSS_CHECK(access(folder.c_str(), W_OK | X_OK) == 0,
             fmt::format("{} cannot be written: {}: {}", out, folder, std::strerror(errno)));
}

std::vector<fs::path> make_folders(const fs::path& path) {
  std::vector<fs::path> made;
  std::error_code failed;
  for (fs::path at = fs::absolute(path).lexically_normal(); !fs::exists(at, failed); at = at.parent_path()) {
    if (at.has_filename()) made.push_back(at);  // "a/" is "a"
    if (at == at.parent_path()) break;
  }
  std::reverse(made.begin(), made.end());
  fs::create_directories(path, failed);
  if (failed) {
    remove_empty_folders(made);
    throw Error(fmt::format("cannot make the folder {}: {}", path.string(), failed.message()));
  }
  return made;
}

void remove_empty_folders(const std::vector<fs::path>& made) {
  for (auto folder = made.rbegin(); folder != made.rend(); ++folder) rmdir(folder->c_str());
}

}  // namespace coss
