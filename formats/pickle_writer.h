// Writes pickles: the part of the format that dictionaries of tensors need.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace coss {

// The lowest bytes of a number, least significant first.
inline std::string little(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += char(uint8_t(value >> (8 * i)));
  return out;
}

// Each method appends the opcodes that push one value, or that make one value of those pushed before.
class PickleWriter {
 public:
  explicit PickleWriter(uint8_t protocol = 2) : out_("\x80" + little(protocol, 1)) {}

  void integer(int64_t value) {
    if (value >= 0 && value < 256) {
      out_ += "K" + little(uint64_t(value), 1);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
      out_ += "J" + little(uint64_t(value), 4);
    } else {
      out_ += "\x8a\x08" + little(uint64_t(value), 8);
    }
  }
  void text(const std::string& value) { out_ += "X" + little(value.size(), 4) + value; }
  void boolean(bool value) { out_ += value ? "\x88" : "\x89"; }
  void none() { out_ += "N"; }
  // Announces `size` bytes, which the caller writes after the text of take(). Needs protocol 3.
  void bytes(uint32_t size) { out_ += "B" + little(size, 4); }
  void global(const std::string& module, const std::string& name) { out_ += "c" + module + "\n" + name + "\n"; }
  void begin() { out_ += "("; }
  void end_tuple() { out_ += "t"; }
  void call() { out_ += "R"; }
  void build() { out_ += "b"; }
  void persistent() { out_ += "Q"; }
  void dictionary() { out_ += "}"; }
  void ordered_dictionary() {
    global("collections", "OrderedDict");
    out_ += ")R";
  }
  void integers(const std::vector<int64_t>& values) {
    begin();
    for (int64_t value : values) integer(value);
    end_tuple();
  }
  void set_items() { out_ += "u"; }  // puts all pairs since begin() into the dictionary before them
  void stop() { out_ += "."; }

  // Returns what was written since the last call.
  std::string take() { return std::exchange(out_, {}); }

 private:
  std::string out_;
};

}  // namespace coss
