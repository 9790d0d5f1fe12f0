// Texts for people: the nearest of the known names for a mistyped one, and names that a terminal can show.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace coss {

// The number of insertions, deletions, substitutions and exchanges of neighboring letters that turn a into b.
int edit_distance(const std::string& a, const std::string& b);
// The name in `known` that is nearest to `word`, or "" when none is near enough.
std::string nearest(const std::string& word, const std::vector<std::string>& known);
// `unknown model "resnet5", did you mean "resnet50"? Known: resnet18, ...`
std::string unknown_name(const std::string& what, const std::string& word, const std::vector<std::string>& known);
// The text with A to Z as a to z; other letters stay as they are.
std::string lower(std::string text);
// The number that the whole text is, as "0.07"; none for anything else. NaN and infinity are numbers here.
std::optional<double> number_of(const std::string& text);
// Names in a file may hold any bytes. '?' replaces what a terminal would obey or what misleads the eye: control
// characters (also U+0080 to U+009F), marks that turn the direction of writing, and bytes that are no UTF-8. With
// `lines` line breaks and tabs stay.
std::string printable(const std::string& text, bool lines = false);

}  // namespace coss
