// Edit distance, the search for the nearest known name, and harmless texts.
#include "engine/text.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

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

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return text;
}

std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

namespace {

struct CodePoint {
  uint32_t value;
  size_t bytes;  // 0: no UTF-8
};

// The character at `at`, whose first byte is above 127.
CodePoint code_point(const std::string& text, size_t at) {
  const auto lead = uint8_t(text[at]);
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + bytes > text.size()) return {0, 0};
  uint32_t value = lead & (0x7fu >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((uint8_t(text[at + i]) & 0xc0) != 0x80) return {0, 0};
    value = value << 6 | (uint8_t(text[at + i]) & 0x3f);
  }
  const bool longer = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value < 0xe000;
  return longer || surrogate || value > 0x10ffff ? CodePoint{0, 0} : CodePoint{value, bytes};
}

bool is_harmless(uint32_t value) {
  const bool control = value < 0xa0;
  const bool direction = value == 0x61c || value == 0x200e || value == 0x200f || (value >= 0x2028 && value <= 0x202e) ||
                         (value >= 0x2066 && value <= 0x2069);
  return !control && !direction;
}

}  // namespace

std::string printable(const std::string& text, bool lines) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto byte = uint8_t(text[i]);
    if (byte < 0x80) {
      const bool plain = (byte >= 0x20 && byte != 0x7f) || (lines && (byte == '\n' || byte == '\t'));
      out += plain ? text[i] : '?';
      ++i;
      continue;
    }
    const CodePoint point = code_point(text, i);
    if (point.bytes > 0 && is_harmless(point.value)) {
      out.append(text, i, point.bytes);
    } else {
      out += '?';
    }
    i += std::max<size_t>(point.bytes, 1);
  }
  return out;
}

}  // namespace coss
