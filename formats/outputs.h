// One rule for outputs, in every command: an existing file is replaced only with --force, an input is never replaced,
// and an output that cannot be written is an error before the work starts.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace coss {

// Throws Error unless the file `out` can be written: its folder exists, it is not one of `inputs` under any name, no
// file in an input folder, and it does not exist or `force` is set. Empty names in `inputs` are ignored. Call it before
// the work.
void check_output(const std::string& out, const std::vector<std::string>& inputs, bool force);

// Makes a folder and its parents. Returns the folders that were missing, outermost first.
std::vector<std::filesystem::path> make_folders(const std::filesystem::path& path);
// Removes those of `made` that are empty.
void remove_empty_folders(const std::vector<std::filesystem::path>& made);

}  // namespace coss
