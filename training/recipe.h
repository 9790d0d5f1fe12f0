// A recipe as text: the one table of its keys, reading it from files and overrides, and messages about mistakes.
#pragma once
#include <string>
#include <vector>

#include "training/config.h"

namespace coss {

// The recipe in `file` (JSON; // and /* */ comments) with "key.sub=value" overrides applied and check() done. Every
// unknown key and every value of a wrong type is named in one Error.
Config load_config(const std::string& file, const std::vector<std::string>& overrides);
// Reads the recipe from `text`; `origin` names it in messages.
Config parse_config(const std::string& text, const std::string& origin, const std::vector<std::string>& overrides);

// Every key with its value, in the order of the table: a recipe that reads back as the same `config`.
std::string to_json(const Config& config);

// One line per key with its default: the footer of `coss train --help`.
std::string config_help();

// One line as "schedule.learning_rate: 0.03 -> 0.1" for each key that differs and changes what is computed. The keys
// that only change how a run is watched (log, checkpoint, knn) or fed (threads, data.workers) are left out.
std::vector<std::string> differences(const Config& before, const Config& after);

}  // namespace coss
