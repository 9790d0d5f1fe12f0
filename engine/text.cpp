// Edit distance, the search for the nearest known name, and harmless texts.
#include "engine/text.h"

#include <algorithm>

namespace coss {

int edit_distance(const std::string& a, const std::string& b) {
  const size_t width = b.size() + 1;
  std::vector<int> cost((a.size() + 1) * width);  // cost(i, j): the first i letters of a into the first j of b
  auto at = [&](size_t i, size_t j) -> int& { return cost[i * width + j]; };
  for (size_t i = 0; i <= a.size(); ++i) at(i, 0) = int(i);
  for (size_t j = 0; j <= b.size(); ++j) at(0, j) = int(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const int differs = a[i - 1] != b[j - 1];
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + differs});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
    }
  }
  return at(a.size(), b.size());
}

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  // A name that differs in more than a third of the word is not meant.
  int limit = std::max(2, int(word.size()) / 3) + 1;
  for (const std::string& name : known) {
    const int distance = edit_distance(word, name);
    if (distance < limit) {
      limit = distance;
      best = name;
    }
  }
  return best;
}

std::string unknown_name(const std::string& what, const std::string& word, const std::vector<std::string>& known) {
  std::string text = "unknown " + what + " \"" + word + "\"";
  const std::string guess = nearest(word, known);
  if (!guess.empty()) text += ", did you mean \"" + guess + "\"?";
  text += guess.empty() ? ". Known:" : " Known:";
  for (size_t i = 0; i < known.size(); ++i) text += (i ? ", " : " ") + known[i];
  return text;
}

std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; }, '?');
  return text;
}

}  // namespace coss
