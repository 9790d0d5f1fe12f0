// The opcodes. Sizes are checked against what is left of the stream before anything is allocated.
#include "formats/pickle.h"

#include <bit>
#include <charconv>
#include <unordered_map>

namespace coss {
namespace {

constexpr size_t kMostValues = 4'000'000;  // about 300 MB
constexpr size_t kDeepestStack = 8'000'000;
constexpr size_t kMostMarks = 100'000;
constexpr int64_t kMostCopied = 64'000'000;
constexpr size_t kMostArguments = 64;
constexpr int64_t kLongestLine = 1 << 16;
constexpr int64_t kSmallInteger = 256;  // integers below it are made once and shared

class Machine {
 public:
  Machine(ByteStream& stream, PickleHeap& heap, PickleHost& host) : in_(stream), heap_(heap), host_(host) {}
  PickleRef run();

 private:
  bool step(uint8_t opcode);  // false when the opcode is of none of the groups
  bool step_literal(uint8_t opcode);
  bool step_container(uint8_t opcode);
  bool step_object(uint8_t opcode);
  bool step_memo(uint8_t opcode);

  void push(PickleRef ref);
  PickleRef pop();
  PickleRef top();
  void mark();
  std::vector<PickleRef> pop_to_mark();
  void push_tuple(size_t length);
  void push_container(PickleKind kind, std::vector<PickleRef> items);
  void append(PickleKind kind, const std::vector<PickleRef>& items);
  void push_long(int64_t bytes);
  void push_bytes(uint64_t length, PickleKind kind);
  void push_global(const std::string& module, const std::string& name);
  void check_call(PickleRef function, PickleRef arguments) const;
  void store(uint64_t key);
  void fetch(uint64_t key);
  std::string quoted_line();
  template <class T>
  T parse_line(std::string line);

  ByteStream& in_;
  PickleHeap& heap_;
  PickleHost& host_;
  std::vector<PickleRef> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleRef> memo_;
};

PickleRef Machine::run() {
  for (;;) {
    const uint8_t opcode = in_.byte();
    if (opcode == '.') break;
    if (!step(opcode)) {
      char text[8];
      std::snprintf(text, sizeof(text), "0x%02x", opcode);
      heap_.fail(std::string("the pickle has the opcode ") + text + ", which coss does not know");
    }
  }
  return pop();
}

bool Machine::step(uint8_t opcode) {
  return step_memo(opcode) || step_literal(opcode) || step_container(opcode) || step_object(opcode);
}

bool Machine::step_literal(uint8_t opcode) {
  switch (opcode) {
    case 0x80:  // PROTO
      if (in_.byte() > 5) heap_.fail("the pickle is of a protocol above 5");
      return true;
    case 0x95:  // FRAME: only a reading hint
      in_.little(8);
      return true;
    case 'N':
      push(PickleHeap::kNone);
      return true;
    case 0x88:
      push(PickleHeap::kTrue);
      return true;
    case 0x89:
      push(PickleHeap::kFalse);
      return true;
    case 'I': {
      const std::string line = in_.line(kLongestLine);
      if (line == "00" || line == "01") {
        push(line == "01" ? PickleHeap::kTrue : PickleHeap::kFalse);
      } else {
        push(heap_.add_integer(parse_line<int64_t>(line)));
      }
      return true;
    }
    case 'L': {
      std::string line = in_.line(kLongestLine);
      if (!line.empty() && line.back() == 'L') line.pop_back();
      push(heap_.add_integer(parse_line<int64_t>(line)));
      return true;
    }
    case 'J':
      push(heap_.add_integer(int32_t(in_.little(4))));
      return true;
    case 'K':
      push(heap_.add_integer(int64_t(in_.little(1))));
      return true;
    case 'M':
      push(heap_.add_integer(int64_t(in_.little(2))));
      return true;
    case 0x8a:  // LONG1
      push_long(in_.byte());
      return true;
    case 0x8b:  // LONG4
      push_long(int32_t(in_.little(4)));
      return true;
    case 'F':
      push(heap_.add_real(parse_line<double>(in_.line(kLongestLine))));
      return true;
    case 'G': {  // BINFLOAT is big-endian
      uint64_t bits = 0;
      for (int i = 0; i < 8; ++i) bits = bits << 8 | in_.byte();
      push(heap_.add_real(std::bit_cast<double>(bits)));
      return true;
    }
    case 'S':
      push(heap_.add_text(quoted_line()));
      return true;
    case 'V':
      push(heap_.add_text(in_.line(kLongestLine)));
      return true;
    // Texts of Python 2 are bytes; in practice they hold names.
    case 'T':
      push_bytes(in_.little(4), PickleKind::text);
      return true;
    case 'U':
      push_bytes(in_.little(1), PickleKind::text);
      return true;
    case 'X':
      push_bytes(in_.little(4), PickleKind::text);
      return true;
    case 0x8c:
      push_bytes(in_.little(1), PickleKind::text);
      return true;
    case 0x8d:
      push_bytes(in_.little(8), PickleKind::text);
      return true;
    case 'B':
      push_bytes(in_.little(4), PickleKind::bytes);
      return true;
    case 'C':
      push_bytes(in_.little(1), PickleKind::bytes);
      return true;
    case 0x8e:
    case 0x96:  // BINBYTES8, BYTEARRAY8
      push_bytes(in_.little(8), PickleKind::bytes);
      return true;
    default:
      return false;
  }
}

bool Machine::step_container(uint8_t opcode) {
  switch (opcode) {
    case '(':
      mark();
      return true;
    case '0':  // POP; right after a mark it takes the mark
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      return true;
    case '1':
      pop_to_mark();
      return true;
    case '2':
      push(top());
      return true;
    case ']':
      push_container(PickleKind::list, {});
      return true;
    case '}':
      push_container(PickleKind::dict, {});
      return true;
    case ')':
      push_container(PickleKind::tuple, {});
      return true;
    case 0x8f:
      push_container(PickleKind::set, {});
      return true;
    case 'l':
      push_container(PickleKind::list, pop_to_mark());
      return true;
    case 'd':
      push_container(PickleKind::dict, pop_to_mark());
      return true;
    case 't':
      push_container(PickleKind::tuple, pop_to_mark());
      return true;
    case 0x91:
      push_container(PickleKind::set, pop_to_mark());
      return true;
    case 0x85:
      push_tuple(1);
      return true;
    case 0x86:
      push_tuple(2);
      return true;
    case 0x87:
      push_tuple(3);
      return true;
    case 'a':
      append(PickleKind::list, {pop()});
      return true;
    case 'e':
      append(PickleKind::list, pop_to_mark());
      return true;
    case 's': {
      const PickleRef value = pop(), key = pop();
      append(PickleKind::dict, {key, value});
      return true;
    }
    case 'u':
      append(PickleKind::dict, pop_to_mark());
      return true;
    case 0x90:
      append(PickleKind::set, pop_to_mark());
      return true;
    default:
      return false;
  }
}

bool Machine::step_object(uint8_t opcode) {
  switch (opcode) {
    case 'c': {
      const std::string module = in_.line(kLongestLine);
      push_global(module, in_.line(kLongestLine));
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      const PickleRef name = pop(), module = pop();
      if (heap_[name].kind != PickleKind::text || heap_[module].kind != PickleKind::text) {
        heap_.fail("the pickle names a class by something that is not a text");
      }
      push_global(heap_[module].text, heap_[name].text);
      return true;
    }
    case 'R': {  // REDUCE
      const PickleRef arguments = pop(), function = pop();
      check_call(function, arguments);
      // Copied, because the host adds values, which moves the heap.
      const std::string global = heap_[function].text;
      push(host_.call(heap_, global, arguments));
      return true;
    }
    case 0x81: {  // NEWOBJ
      const PickleRef arguments = pop(), type = pop();
      check_call(type, arguments);
      push(host_.make(heap_, type, arguments));
      return true;
    }
    case 0x92: {  // NEWOBJ_EX
      const PickleRef named = pop(), arguments = pop(), type = pop();
      if (heap_[named].kind != PickleKind::dict)
        heap_.fail("the pickle is corrupt: the named arguments of an object are no dictionary");
      check_call(type, arguments);
      push(host_.make(heap_, type, arguments));
      return true;
    }
    case 'b': {
      const PickleRef state = pop(), object = top();
      host_.build(heap_, object, state);
      return true;
    }
    case 'P':
      push(host_.persistent(heap_, heap_.add_text(in_.line(kLongestLine))));
      return true;
    case 'Q':
      push(host_.persistent(heap_, pop()));
      return true;
    default:
      return false;
  }
}

bool Machine::step_memo(uint8_t opcode) {
  switch (opcode) {
    case 'q':
      store(in_.little(1));
      return true;
    case 'r':
      store(in_.little(4));
      return true;
    case 0x94:  // MEMOIZE
      store(memo_.size());
      return true;
    case 'h':
      fetch(in_.little(1));
      return true;
    case 'j':
      fetch(in_.little(4));
      return true;
    case 'p':
      store(parse_line<uint64_t>(in_.line(kLongestLine)));
      return true;
    case 'g':
      fetch(parse_line<uint64_t>(in_.line(kLongestLine)));
      return true;
    default:
      return false;
  }
}

void Machine::mark() {
  if (marks_.size() >= kMostMarks) heap_.fail("the pickle's containers are nested too deeply");
  marks_.push_back(stack_.size());
}

void Machine::push(PickleRef ref) {
  if (stack_.size() >= kDeepestStack) heap_.fail("the pickle's stack grows too deep");
  stack_.push_back(ref);
}

PickleRef Machine::top() {
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor) heap_.fail("the pickle is corrupt: it takes a value from an empty stack");
  return stack_.back();
}

PickleRef Machine::pop() {
  const PickleRef ref = top();
  stack_.pop_back();
  return ref;
}

std::vector<PickleRef> Machine::pop_to_mark() {
  if (marks_.empty()) heap_.fail("the pickle is corrupt: it has an end of a list without a start");
  const auto begin = stack_.begin() + std::ptrdiff_t(marks_.back());
  std::vector<PickleRef> items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return items;
}

void Machine::push_tuple(size_t length) {
  std::vector<PickleRef> items(length);
  for (size_t i = length; i-- > 0;) items[i] = pop();
  push_container(PickleKind::tuple, std::move(items));
}

void Machine::push_container(PickleKind kind, std::vector<PickleRef> items) {
  if (kind == PickleKind::dict && items.size() % 2) heap_.fail("the pickle is corrupt: a key without a value");
  push(heap_.add({kind, 0, 0, {}, std::move(items)}));
}

void Machine::append(PickleKind kind, const std::vector<PickleRef>& items) {
  PickleValue& to = heap_[top()];
  // The object is of an unknown class: its list items are not needed.
  if (to.kind == PickleKind::opaque || (to.kind == PickleKind::bag && kind != PickleKind::dict)) return;
  const bool takes = to.kind == kind || (to.kind == PickleKind::bag && kind == PickleKind::dict);
  if (!takes) heap_.fail("the pickle is corrupt: it adds items to something that holds none");
  if (kind == PickleKind::dict && items.size() % 2) heap_.fail("the pickle is corrupt: a key without a value");
  to.items.insert(to.items.end(), items.begin(), items.end());
}

void Machine::push_long(int64_t bytes) {
  if (bytes <= 8) {
    if (bytes < 0) heap_.fail("the pickle is corrupt: a number of negative length");
    uint64_t value = in_.little(int(bytes));
    if (bytes > 0 && bytes < 8 && value >> (8 * bytes - 1)) value |= ~uint64_t(0) << (8 * bytes);
    push(heap_.add_integer(int64_t(value)));
  } else {
    in_.text(bytes);  // wider than any size or offset, such as a random state
    push(heap_.add(PickleKind::opaque));
  }
}

void Machine::push_bytes(uint64_t length, PickleKind kind) {
  if (length > uint64_t(in_.left())) heap_.fail("the pickle is truncated or corrupt: a text is longer than the file");
  push(heap_.add({kind, 0, 0, in_.text(int64_t(length)), {}}));
}

void Machine::push_global(const std::string& module, const std::string& name) {
  heap_.charge_copy(module.size() + name.size());
  const std::string global = module + "." + name;
  if (!host_.knows(global)) heap_.fail("the pickle wants to call '" + global + "', which coss never does");
  push(heap_.add({PickleKind::global, 0, 0, global, {}}));
}

void Machine::check_call(PickleRef function, PickleRef arguments) const {
  if (heap_[function].kind != PickleKind::global || heap_[arguments].kind != PickleKind::tuple) {
    heap_.fail("the pickle is corrupt: it calls something that is not a function");
  }
  if (heap_[arguments].items.size() > kMostArguments) heap_.fail("the pickle calls a function with too many arguments");
}

void Machine::store(uint64_t key) {
  if (memo_.size() >= kMostValues) heap_.fail("the pickle remembers too many values");
  memo_[key] = top();
}

void Machine::fetch(uint64_t key) {
  const auto found = memo_.find(key);
  if (found == memo_.end()) heap_.fail("the pickle is corrupt: it recalls a value that it never stored");
  push(found->second);
}

std::string Machine::quoted_line() {
  const std::string line = in_.line(kLongestLine);
  const bool quoted = line.size() >= 2 && line.front() == line.back() && (line[0] == '\'' || line[0] == '"');
  if (!quoted || line.find('\\') != std::string::npos)
    heap_.fail("the pickle has an escaped text, which coss cannot read");
  return line.substr(1, line.size() - 2);
}

template <class T>
T Machine::parse_line(std::string line) {
  T value{};
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
  if (error != std::errc() || end != line.data() + line.size())
    heap_.fail("the pickle is corrupt: '" + line + "' is no number");
  return value;
}

}  // namespace

PickleHeap::PickleHeap(std::string name) : name_(std::move(name)) {
  add(PickleKind::none);
  add(PickleValue{PickleKind::boolean, 0, 0, {}, {}});
  add(PickleValue{PickleKind::boolean, 1, 0, {}, {}});
  for (int64_t i = 0; i < kSmallInteger; ++i) add({PickleKind::integer, i, 0, {}, {}});
}

PickleRef PickleHeap::add(PickleValue value) {
  if (values_.size() >= kMostValues) fail("the pickle holds more than " + std::to_string(kMostValues) + " values");
  values_.push_back(std::move(value));
  return PickleRef(values_.size() - 1);
}

PickleRef PickleHeap::add_integer(int64_t value) {
  if (value >= 0 && value < kSmallInteger) return PickleRef(kTrue + 1 + value);
  return add({PickleKind::integer, value, 0, {}, {}});
}

void PickleHeap::copy_items(PickleRef from, PickleRef to) {
  charge_copy(values_[from].items.size());
  const std::vector<PickleRef> items = values_[from].items;
  values_[to].items.insert(values_[to].items.end(), items.begin(), items.end());
}

void PickleHeap::charge_copy(size_t items) {
  copied_ += int64_t(items);
  if (copied_ > kMostCopied) fail("the pickle copies its values too often");
}

std::vector<int64_t> PickleHeap::integers(PickleRef ref) const {
  const PickleValue& value = values_[ref];
  if (value.kind != PickleKind::tuple && value.kind != PickleKind::list)
    fail("the pickle has a shape that is no tuple");
  if (value.items.size() > 32) fail("the pickle has a shape of more than 32 dimensions");
  std::vector<int64_t> out;
  for (PickleRef item : value.items) {
    if (values_[item].kind != PickleKind::integer) fail("the pickle has a shape that is not of whole numbers");
    out.push_back(values_[item].integer);
  }
  return out;
}

void PickleHeap::fail(const std::string& what) const { throw Error(name_ + ": " + what); }

PickleRef run_pickle(ByteStream& stream, PickleHeap& heap, PickleHost& host) {
  return Machine(stream, heap, host).run();
}

}  // namespace coss
