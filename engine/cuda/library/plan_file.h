// The plans that measurement chose, kept in a text file: a line for each convolution with its key, a tab, and the
// choice. With it a resumed run computes with the same engines, so with the same bits, and starts without measuring.
// Other lines are ignored; if the file cannot be written, nothing is kept.
#pragma once
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace coss::cuda {

class PlanFile {
 public:
  // Reads the file if there is one. With an empty path nothing is kept.
  explicit PlanFile(std::string path) : path_(std::move(path)) { read(); }

  // The path for a GPU and a library version, in $XDG_CACHE_HOME/coss or ~/.cache/coss; empty when neither variable is
  // set.
  static std::string path_for(const std::string& gpu, const std::string& version) {
    std::string folder;
    if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && cache[0] == '/')
      folder = cache;
    else if (const char* home = std::getenv("HOME"); home && home[0] == '/')
      folder = std::string(home) + "/.cache";
    else
      return "";
    std::string name = "convolutions-" + gpu + "-cudnn-" + version;
    for (char& letter : name)
      if (!std::isalnum(static_cast<unsigned char>(letter)) && letter != '.' && letter != '-') letter = '_';
    return folder + "/coss/" + name + ".txt";
  }

  // The choice for `key`; empty when there is none.
  std::string find(const std::string& key) const {
    const auto found = choices_.find(key);
    return found == choices_.end() ? "" : found->second;
  }

  // Adds a choice and writes the file; lines that other processes have written meanwhile are kept.
  void remember(const std::string& key, const std::string& choice) {
    read();
    choices_[key] = choice;
    write();
  }

 private:
  static constexpr const char* kHeader =
      "# coss: the fastest cuDNN plan of each convolution, as measured. May be deleted.";
  static constexpr size_t kMaxLines = 100000;

  void read() {
    if (path_.empty()) return;
    std::ifstream file(path_);
    std::string line;
    for (size_t i = 0; i < kMaxLines && std::getline(file, line); ++i) {
      const size_t tab = line.find('\t');
      if (line.empty() || line[0] == '#' || tab == 0 || tab == std::string::npos || tab + 1 == line.size()) continue;
      choices_[line.substr(0, tab)] = line.substr(tab + 1);
    }
  }

  void write() const {
    if (path_.empty()) return;
    std::error_code ignored;
    const std::filesystem::path path(path_);
    std::filesystem::create_directories(path.parent_path(), ignored);
    const std::string aside = path_ + "." + std::to_string(::getpid());
    {
      std::ofstream file(aside, std::ios::trunc);
      file << kHeader << '\n';
      for (const auto& [key, choice] : choices_) file << key << '\t' << choice << '\n';
      file.flush();
      if (!file) {
        std::filesystem::remove(aside, ignored);
        return;
      }
    }
    std::filesystem::rename(aside, path, ignored);
    if (ignored) std::filesystem::remove(aside, ignored);
  }

  std::string path_;
  std::map<std::string, std::string> choices_;
};

}  // namespace coss::cuda
