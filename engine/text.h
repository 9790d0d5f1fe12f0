// Texts for people: the nearest of the known names for a mistyped one, and names that a terminal can show.
#pragma once
#include <string>
#include <vector>

namespace coss {

// The number of insertions, deletions, substitutions and exchanges of neighboring letters that turn a into b.
int edit_distance(const std::string& a, const std::string& b);
// The name in `known` that is nearest to `word`, or "" when none is near enough.
std::string nearest(const std::string& word, const std::vector<std::string>& known);
// `unknown model "resnet5", did you mean "resnet50"? Known: resnet18, ...`
std::string unknown_name(const std::string& what, const std::string& word, const std::vector<std::string>& known);
// Replaces control characters by '?': names in a file may hold escape sequences, which a terminal would obey.
std::string printable(std::string text);

}  // namespace coss
