// The one rule for what a user names as output, in every command: what is there stays unless --force says otherwise, an
// input is never replaced, and what cannot be written is said before the work.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace coss {

// Throws Error unless the file `out` can be written: its folder exists, it is not one of `inputs` under any name, no
// file in an input folder, and it does not exist or `force` is set. Empty inputs are left out. Call it before the work.
void check_output(const std::string& out, const std::vector<std::string>& inputs, bool force);

// Makes a folder and its parents. Returns those that were missing, outermost first.
std::vector<std::filesystem::path> make_folders(const std::filesystem::path& path);
// Removes those that are empty.
void remove_empty_folders(const std::vector<std::filesystem::path>& made);

}  // namespace coss
