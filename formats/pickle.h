// The pickle machine turns Python's object stream into plain values. It executes nothing: each name and call of a
// pickle goes to a PickleHost, which answers from a table or refuses.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "formats/file_bytes.h"

namespace coss {

// The index of a value in its heap. Values refer to each other by index, so shared and self-referencing containers need
// no special care, and freeing a deep nest is not recursive.
using PickleRef = uint32_t;

enum class PickleKind : uint8_t {
  none,
  boolean,
  integer,
  real,
  text,
  bytes,
  list,
  tuple,
  dict,
  set,
  global,
  dtype,
  storage,
  tensor,
  bag,       // an instance of a class that the host does not know: attributes, as a dict's items
  variable,  // an instance that becomes the tensor of its state
  array,     // an array that has no shape and no numbers yet
  opaque     // a value that coss does not know
};

struct PickleValue {
  PickleKind kind = PickleKind::none;
  int64_t integer = 0;  // also the index of a storage, tensor or bag of the host, or a dtype
  double real = 0;
  std::string text;              // a text, bytes, or the full name of a global
  std::vector<PickleRef> items;  // of a list, tuple or set; of a dict or bag: key, value, key, value …
};

class PickleHeap {
 public:
  // `name` is the file name for errors.
  explicit PickleHeap(std::string name);
  const std::string& name() const { return name_; }
  PickleValue& operator[](PickleRef ref) { return values_[ref]; }
  const PickleValue& operator[](PickleRef ref) const { return values_[ref]; }
  PickleRef add(PickleValue value);
  PickleRef add(PickleKind kind) { return add(PickleValue{kind, 0, 0, {}, {}}); }
  PickleRef add_integer(int64_t value);
  PickleRef add_real(double value) { return add({PickleKind::real, 0, value, {}, {}}); }
  PickleRef add_text(std::string value) { return add({PickleKind::text, 0, 0, std::move(value), {}}); }
  // Appends the items of one container to another.
  void copy_items(PickleRef from, PickleRef to);
  // Limits the number of items that are copied in all, because a short pickle could ask for any amount.
  void charge_copy(size_t items);
  // The values of a tuple or list of whole numbers; Error when it is something else.
  std::vector<int64_t> integers(PickleRef ref) const;
  [[noreturn]] void fail(const std::string& what) const;

  static constexpr PickleRef kNone = 0, kFalse = 1, kTrue = 2;

 private:
  std::string name_;
  std::vector<PickleValue> values_;
  int64_t copied_ = 0;
};

class PickleHost {
 public:
  virtual ~PickleHost() = default;
  // Whether a pickle may name this class or function, such as "collections.OrderedDict".
  virtual bool knows(const std::string& global) = 0;
  // The result of calling it; `arguments` is a tuple.
  virtual PickleRef call(PickleHeap& heap, const std::string& global, PickleRef arguments) = 0;
  // A new, empty instance of a class (__new__); `type` is a global, `arguments` a tuple.
  virtual PickleRef make(PickleHeap& heap, PickleRef type, PickleRef arguments) {
    return call(heap, std::string(heap[type].text), arguments);
  }
  // __setstate__ of an object.
  virtual void build(PickleHeap& heap, PickleRef object, PickleRef state) = 0;
  // Returns the object that a persistent id stands for.
  virtual PickleRef persistent(PickleHeap& heap, PickleRef id) = 0;
};

// Runs one pickle of protocol 0 to 5 to its end. Error when it is corrupt, too large or wants what the host refuses.
PickleRef run_pickle(ByteStream& stream, PickleHeap& heap, PickleHost& host);

}  // namespace coss
