// Texts for people: the nearest of the known names for a mistyped one, and names that a terminal can show.
#pragma once
#include <string>
#include <vector>

namespace coss {

// Insertions, deletions, substitutions and exchanges of neighboring letters that lead from a to b.
int edit_distance(const std::string& a, const std::string& b);
// The nearest of `known`, or "" when none is near enough to be meant.
std::string nearest(const std::string& word, const std::vector<std::string>& known);
// `unknown model "resnet5", did you mean "resnet50"? Known: resnet18, ...`
std::string unknown_name(const std::string& what, const std::string& word, const std::vector<std::string>& known);
// Names in a file may hold escape sequences, which a terminal would obey: control characters become '?'.
std::string printable(std::string text);

}  // namespace coss
