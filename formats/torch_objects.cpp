// The allow-list, one visible table, and the meaning of each of its lines.
#include "formats/torch_objects.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace coss {
namespace {

enum class Meaning : uint8_t {
  storage_class,  // names the dtype of a storage
  torch_dtype,    // a value, never called
  dict,           // a dictionary, filled by the call, by SETITEMS or by BUILD
  sequence,       // a list, tuple or set of the items of the first argument
  tensor,         // (storage, offset, size, stride, …)
  typed_tensor,   // the same from an untyped storage, the dtype at place 6
  sparse_tensor,  // (layout, (indices, values, size, …)): its values are not read
  quantized,      // (storage, offset, size, …): likewise
  without_data,   // (dtype, size, …): a tensor on PyTorch's meta device
  nested_tensor,  // its values are not read
  from_type,      // (function, class, arguments, state): a tensor's subclass
  first,          // the first argument: (tensor, …)
  variable,       // a tensor: (tensor), or of the state (tensor, …)
  array_start,    // NumPy: an empty array that BUILD fills
  array_whole,    // NumPy 2: (bytes, dtype, shape, order)
  value_only,     // a class that is named, never called
  array_dtype,    // NumPy: ('f4', …)
  scalar,         // NumPy: (dtype, bytes)
  encoded_bytes,  // (text, 'latin1'): how protocol 2 spells bytes
  new_object,     // (class): how protocols 0 and 1 spell an instance
  new_based,      // (class, object, None), or a dictionary's (class, dict, items)
  inert,          // harmless, and nothing of it is needed
};

struct Global {
  const char* name;
  Meaning meaning;
  FileDType dtype = FileDType::u8;
};

constexpr Global kGlobals[] = {
    {"collections.OrderedDict", Meaning::dict},
    {"collections.defaultdict", Meaning::dict},
    {"collections.Counter", Meaning::dict},
    {"types.SimpleNamespace", Meaning::dict},
    {"collections.deque", Meaning::sequence},
    {"argparse.Namespace", Meaning::dict},
    {"builtins.dict", Meaning::dict},
    {"__builtin__.dict", Meaning::dict},
    {"torch.Size", Meaning::sequence},
    {"builtins.list", Meaning::sequence},
    {"__builtin__.list", Meaning::sequence},
    {"builtins.tuple", Meaning::sequence},
    {"__builtin__.tuple", Meaning::sequence},
    {"builtins.set", Meaning::sequence},
    {"__builtin__.set", Meaning::sequence},
    {"builtins.frozenset", Meaning::sequence},
    {"__builtin__.frozenset", Meaning::sequence},
    {"torch.jit._pickle.build_intlist", Meaning::sequence},
    {"torch.jit._pickle.build_doublelist", Meaning::sequence},
    {"torch.jit._pickle.build_boollist", Meaning::sequence},
    {"torch.jit._pickle.build_tensorlist", Meaning::sequence},
    {"torch.jit._pickle.restore_type_tag", Meaning::first},
    {"builtins.object", Meaning::value_only},
    {"__builtin__.object", Meaning::value_only},
    {"copyreg.__newobj__", Meaning::new_object},
    {"copy_reg.__newobj__", Meaning::new_object},
    {"copyreg._reconstructor", Meaning::new_based},
    {"copy_reg._reconstructor", Meaning::new_based},
    {"functools.partial", Meaning::inert},
    {"torch.nn.backends.thnn._get_thnn_function_backend", Meaning::inert},
    {"builtins.int", Meaning::inert},
    {"__builtin__.int", Meaning::inert},
    {"builtins.float", Meaning::inert},
    {"__builtin__.float", Meaning::inert},
    {"builtins.str", Meaning::inert},
    {"__builtin__.str", Meaning::inert},
    {"builtins.slice", Meaning::inert},
    {"__builtin__.slice", Meaning::inert},
    {"builtins.range", Meaning::inert},
    {"__builtin__.xrange", Meaning::inert},
    {"builtins.complex", Meaning::inert},
    {"__builtin__.complex", Meaning::inert},
    {"builtins.bytes", Meaning::inert},
    {"__builtin__.bytes", Meaning::inert},
    {"builtins.bytearray", Meaning::inert},
    {"__builtin__.bytearray", Meaning::inert},
    {"builtins.getattr", Meaning::inert},
    {"__builtin__.getattr", Meaning::inert},
    {"torch.device", Meaning::inert},
    {"torch.serialization._get_layout", Meaning::inert},
    {"_codecs.encode", Meaning::encoded_bytes},
    {"torch._utils._rebuild_tensor", Meaning::tensor},
    {"torch._utils._rebuild_tensor_v2", Meaning::tensor},
    {"torch._utils._rebuild_tensor_v3", Meaning::typed_tensor},
    {"torch._utils._rebuild_sparse_tensor", Meaning::sparse_tensor},
    {"torch._utils._rebuild_sparse_csr_tensor", Meaning::sparse_tensor},
    {"torch._utils._rebuild_qtensor", Meaning::quantized},
    {"torch._utils._rebuild_meta_tensor_no_storage", Meaning::without_data},
    {"torch._utils._rebuild_nested_tensor", Meaning::nested_tensor},
    {"torch._tensor._rebuild_from_type", Meaning::from_type},
    {"torch._tensor._rebuild_from_type_v2", Meaning::from_type},
    {"torch._utils._rebuild_device_tensor_from_numpy", Meaning::first},
    {"torch._utils._rebuild_parameter", Meaning::first},
    {"torch._utils._rebuild_parameter_with_state", Meaning::first},
    {"torch.nn.parameter.Parameter", Meaning::variable},
    {"torch.autograd.variable.Variable", Meaning::variable},
    {"numpy.dtype", Meaning::array_dtype},
    {"numpy.ndarray", Meaning::value_only},
    {"numpy.core.multiarray._reconstruct", Meaning::array_start},
    {"numpy._core.multiarray._reconstruct", Meaning::array_start},
    {"numpy.core.numeric._frombuffer", Meaning::array_whole},
    {"numpy._core.numeric._frombuffer", Meaning::array_whole},
    {"numpy.core.multiarray.scalar", Meaning::scalar},
    {"numpy._core.multiarray.scalar", Meaning::scalar},
    {"torch.float64", Meaning::torch_dtype, FileDType::f64},
    {"torch.double", Meaning::torch_dtype, FileDType::f64},
    {"torch.float32", Meaning::torch_dtype, FileDType::f32},
    {"torch.float", Meaning::torch_dtype, FileDType::f32},
    {"torch.float16", Meaning::torch_dtype, FileDType::f16},
    {"torch.half", Meaning::torch_dtype, FileDType::f16},
    {"torch.bfloat16", Meaning::torch_dtype, FileDType::bf16},
    {"torch.int64", Meaning::torch_dtype, FileDType::i64},
    {"torch.long", Meaning::torch_dtype, FileDType::i64},
    {"torch.int32", Meaning::torch_dtype, FileDType::i32},
    {"torch.int", Meaning::torch_dtype, FileDType::i32},
    {"torch.int16", Meaning::torch_dtype, FileDType::i16},
    {"torch.short", Meaning::torch_dtype, FileDType::i16},
    {"torch.int8", Meaning::torch_dtype, FileDType::i8},
    {"torch.uint64", Meaning::torch_dtype, FileDType::u64},
    {"torch.uint32", Meaning::torch_dtype, FileDType::u32},
    {"torch.uint16", Meaning::torch_dtype, FileDType::u16},
    {"torch.uint8", Meaning::torch_dtype, FileDType::u8},
    {"torch.bool", Meaning::torch_dtype, FileDType::boolean},
    {"torch.float8_e4m3fn", Meaning::torch_dtype, FileDType::f8_e4m3},
    {"torch.float8_e5m2", Meaning::torch_dtype, FileDType::f8_e5m2},
    {"torch.complex64", Meaning::torch_dtype, FileDType::c64},
    {"torch.complex128", Meaning::torch_dtype, FileDType::c128},
    {"torch.DoubleStorage", Meaning::storage_class, FileDType::f64},
    {"torch.FloatStorage", Meaning::storage_class, FileDType::f32},
    {"torch.HalfStorage", Meaning::storage_class, FileDType::f16},
    {"torch.BFloat16Storage", Meaning::storage_class, FileDType::bf16},
    {"torch.LongStorage", Meaning::storage_class, FileDType::i64},
    {"torch.IntStorage", Meaning::storage_class, FileDType::i32},
    {"torch.ShortStorage", Meaning::storage_class, FileDType::i16},
    {"torch.CharStorage", Meaning::storage_class, FileDType::i8},
    {"torch.ByteStorage", Meaning::storage_class, FileDType::u8},
    {"torch.BoolStorage", Meaning::storage_class, FileDType::boolean},
    {"torch.ComplexFloatStorage", Meaning::storage_class, FileDType::c64},
    {"torch.ComplexDoubleStorage", Meaning::storage_class, FileDType::c128},
    {"torch.QInt8Storage", Meaning::storage_class, FileDType::i8},
    {"torch.QUInt8Storage", Meaning::storage_class, FileDType::u8},
    {"torch.QInt32Storage", Meaning::storage_class, FileDType::i32},
    {"torch.UntypedStorage", Meaning::storage_class, FileDType::u8},
    {"torch.storage.UntypedStorage", Meaning::storage_class, FileDType::u8},
    {"torch.storage._UntypedStorage", Meaning::storage_class, FileDType::u8},
};

// Names that run programs, open files or load pickles. Nothing is ever called; the error warns users.
constexpr const char* kHarmful[] = {"os.",
                                    "posix.",
                                    "nt.",
                                    "subprocess.",
                                    "pty.",
                                    "shutil.",
                                    "socket.",
                                    "ctypes.",
                                    "importlib.",
                                    "runpy.",
                                    "webbrowser.",
                                    "pickle.",
                                    "_pickle.",
                                    "popen2.",
                                    "builtins.eval",
                                    "builtins.exec",
                                    "builtins.open",
                                    "builtins.compile",
                                    "builtins.__import__",
                                    "__builtin__.eval",
                                    "__builtin__.execfile",
                                    "__builtin__.open",
                                    "__builtin__.compile",
                                    "__builtin__.__import__",
                                    "torch.load",
                                    "torch.hub.",
                                    "numpy.load"};

const Global* find_global(std::string name) {
  // Old files name the device in the class: torch.cuda.FloatStorage.
  constexpr char kCuda[] = "torch.cuda.";
  if (name.starts_with(kCuda) && (name.ends_with("Storage") || name.ends_with("Tensor"))) {
    name = "torch." + name.substr(sizeof(kCuda) - 1);
  }
  // In the first releases the class of a tensor names its dtype, as the class of a storage does.
  if (name.starts_with("torch.") && name.ends_with("Tensor")) name.replace(name.size() - 6, 6, "Storage");
  for (const Global& global : kGlobals) {
    if (name == global.name) return &global;
  }
  return nullptr;
}

std::optional<FileDType> numpy_format(const std::string& text) {
  struct Format {
    const char* text;
    FileDType dtype;
  };
  constexpr Format kFormats[] = {
      {"f8", FileDType::f64}, {"f4", FileDType::f32},   {"f2", FileDType::f16}, {"i8", FileDType::i64},
      {"i4", FileDType::i32}, {"i2", FileDType::i16},   {"i1", FileDType::i8},  {"u8", FileDType::u64},
      {"u4", FileDType::u32}, {"u2", FileDType::u16},   {"u1", FileDType::u8},  {"b1", FileDType::boolean},
      {"c8", FileDType::c64}, {"c16", FileDType::c128},
  };
  for (const Format& format : kFormats) {
    if (text == format.text) return format.dtype;
  }
  return std::nullopt;
}

// The code points of a text as bytes.
std::string latin1(const PickleHeap& heap, const std::string& utf8) {
  std::string out;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const uint8_t lead = uint8_t(utf8[i]);
    if (lead < 0x80) {
      out += char(lead);
    } else if ((lead == 0xc2 || lead == 0xc3) && i + 1 < utf8.size()) {
      out += char((lead & 3) << 6 | (uint8_t(utf8[++i]) & 0x3f));
    } else {
      heap.fail("the pickle has bytes spelled in letters outside latin1");
    }
  }
  return out;
}

constexpr int64_t kUnknownDType = -1;
constexpr size_t kMostTensors = 500'000;
constexpr size_t kMostUnknown = 100;  // names that are reported

}  // namespace

bool TorchObjects::knows(const std::string& global) {
  for (const char* harmful : kHarmful)
    if (global.starts_with(harmful)) return false;
  if (unknown_.size() < kMostUnknown && !find_global(global)) unknown_.insert(global);
  return true;
}

PickleRef TorchObjects::call(PickleHeap& heap, const std::string& name, PickleRef arguments_ref) {
  const Global* const found = find_global(name);
  const std::vector<PickleRef> arguments = heap[arguments_ref].items;
  // Without arguments it may be a subclass of dict, whose items follow.
  if (!found) return heap.add(arguments.empty() ? PickleKind::bag : PickleKind::opaque);
  const Global& global = *found;
  const auto need = [&](size_t count) {
    if (arguments.size() < count) heap.fail("the pickle calls " + name + " with too few arguments");
  };
  switch (global.meaning) {
    case Meaning::dict: {
      const PickleRef out = heap.add(PickleKind::dict);
      for (PickleRef argument : arguments) {
        if (heap[argument].kind == PickleKind::dict) heap.copy_items(argument, out);
        if (heap[argument].kind != PickleKind::list) continue;
        // OrderedDict([(key, value), …]), as Python 2 spelled it.
        const std::vector<PickleRef> pairs = heap[argument].items;
        for (PickleRef pair : pairs) {
          if (heap[pair].items.size() != 2) heap.fail("the pickle makes a dictionary from something that is no pair");
          heap.copy_items(pair, out);
        }
      }
      return out;
    }
    case Meaning::sequence: {
      const PickleRef out = heap.add(PickleKind::tuple);
      if (!arguments.empty()) heap.copy_items(arguments[0], out);
      if (name.ends_with("set")) heap[out].kind = PickleKind::set;
      if (name.ends_with("list") || name.ends_with("deque")) heap[out].kind = PickleKind::list;
      return out;
    }
    case Meaning::tensor:
      need(4);
      return rebuild_tensor(heap, arguments, nullptr);
    case Meaning::typed_tensor: {
      need(7);
      const PickleValue& dtype = heap[arguments[6]];
      if (dtype.kind != PickleKind::global) heap.fail("the pickle has a tensor without a dtype");
      const Global* named = find_global(dtype.text);
      if (!named || named->meaning != Meaning::torch_dtype)
        return add_unreadable(heap, arguments[2], "has the dtype " + dtype.text);
      return rebuild_tensor(heap, arguments, &named->dtype);
    }
    case Meaning::sparse_tensor: {
      need(2);
      const std::vector<PickleRef>& parts = heap[arguments[1]].items;
      const auto is_shape = [&](PickleRef ref) { return heap[ref].kind == PickleKind::tuple; };
      const auto shape = std::find_if(parts.begin(), parts.end(), is_shape);
      return add_unreadable(heap, shape == parts.end() ? heap.add(PickleKind::tuple) : *shape, "is sparse");
    }
    case Meaning::quantized:
      need(3);
      return add_unreadable(heap, arguments[2], "is quantized");
    case Meaning::without_data:
      need(2);
      return add_unreadable(heap, arguments[1], "has no values (it was on PyTorch's meta device)");
    case Meaning::nested_tensor:
      return add_unreadable(heap, heap.add(PickleKind::tuple), "is nested");
    case Meaning::from_type: {
      need(3);
      const PickleValue& function = heap[arguments[0]];
      if (function.kind != PickleKind::global || heap[arguments[2]].kind != PickleKind::tuple)
        heap.fail("the pickle makes a tensor from something that is no function");
      const Global* known = find_global(function.text);
      if (known && known->meaning == Meaning::from_type) heap.fail("the pickle's tensors are nested too deeply");
      return call(heap, std::string(function.text), arguments[2]);
    }
    case Meaning::first:
      need(1);
      return arguments[0];
    case Meaning::variable:
      return arguments.empty() ? heap.add(PickleKind::variable) : arguments[0];
    case Meaning::new_object: {
      need(1);
      const PickleRef rest = heap.add(PickleKind::tuple);
      heap[rest].items.assign(arguments.begin() + 1, arguments.end());
      if (heap[arguments[0]].text == name) heap.fail("the pickle makes an instance of something that is no class");
      return make(heap, arguments[0], rest);
    }
    case Meaning::new_based: {
      need(3);
      const std::string base = heap[arguments[1]].text;
      if (heap[arguments[0]].kind != PickleKind::global)
        heap.fail("the pickle makes an instance of something that is no class");
      // A subclass of text, number or list, which is not needed.
      if (!(base.ends_with(".object") || base.ends_with(".dict"))) return heap.add(PickleKind::opaque);
      if (heap[arguments[0]].text == name) heap.fail("the pickle makes an instance of something that is no class");
      const PickleRef out = make(heap, arguments[0], heap.add(PickleKind::tuple));
      const PickleKind kind = heap[out].kind;
      const bool holds = kind == PickleKind::bag || kind == PickleKind::dict;
      if (holds && heap[arguments[2]].kind == PickleKind::dict) heap.copy_items(arguments[2], out);
      return out;
    }
    case Meaning::array_start:
      return heap.add(PickleKind::array);
    case Meaning::array_whole:
      need(4);
      return add_array(heap, arguments[1], arguments[2], arguments[0], heap[arguments[3]].text == "F");
    case Meaning::array_dtype:
      need(1);
      return numpy_dtype(heap, heap[arguments[0]].text);
    case Meaning::scalar:
      need(2);
      return numpy_scalar(heap, arguments[0], arguments[1]);
    case Meaning::encoded_bytes:
      need(1);
      heap.charge_copy(heap[arguments[0]].text.size());
      return heap.add({PickleKind::bytes, 0, 0, latin1(heap, heap[arguments[0]].text), {}});
    case Meaning::inert:
      return heap.add(PickleKind::opaque);
    case Meaning::storage_class:
    case Meaning::torch_dtype:
    case Meaning::value_only:
      break;
  }
  heap.fail("the pickle wants to call '" + name + "', which coss never does");
}

PickleRef TorchObjects::make(PickleHeap& heap, PickleRef type, PickleRef arguments) {
  if (heap[type].kind != PickleKind::global) heap.fail("the pickle makes an instance of something that is no class");
  const std::string name = heap[type].text;
  if (find_global(name)) return call(heap, name, arguments);
  // The values of a named tuple, or other arguments of the class; they are named by their position.
  const PickleRef bag = heap.add(PickleKind::bag);
  const std::vector<PickleRef> values = heap[arguments].items;
  for (size_t i = 0; i < values.size(); ++i) {
    const PickleRef place = heap.add_integer(int64_t(i));
    heap[bag].items.insert(heap[bag].items.end(), {place, values[i]});
  }
  return bag;
}

PickleRef TorchObjects::add_unreadable(PickleHeap& heap, PickleRef shape, const std::string& why) {
  FileTensor tensor;
  tensor.dtype = FileDType::u8;
  tensor.shape = heap.integers(shape);
  tensor.strides.assign(tensor.shape.size(), 0);
  tensor.unreadable = why;
  checked_numel(tensor.shape, tensor.dtype, heap.name() + ": a tensor");
  if (tensors_.size() >= kMostTensors) heap.fail("the pickle makes too many tensors");
  tensors_.push_back(std::move(tensor));
  return heap.add({PickleKind::tensor, int64_t(tensors_.size()) - 1, 0, {}, {}});
}

void TorchObjects::build_bag(PickleHeap& heap, PickleRef object, PickleRef state_ref) {
  std::vector<PickleRef> parts = {state_ref};
  // (attributes, slots) of a class with __slots__; either may be None.
  if (heap[state_ref].kind == PickleKind::tuple && heap[state_ref].items.size() == 2) parts = heap[state_ref].items;
  // Only the class itself understands any other state.
  for (PickleRef part : parts)
    if (heap[part].kind == PickleKind::dict) heap.copy_items(part, object);
}

void TorchObjects::build(PickleHeap& heap, PickleRef object, PickleRef state_ref) {
  const PickleValue& state = heap[state_ref];
  if (heap[object].kind == PickleKind::bag) {
    build_bag(heap, object, state_ref);
  } else if (heap[object].kind == PickleKind::variable) {
    if (state.kind != PickleKind::tuple || state.items.empty() || heap[state.items[0]].kind != PickleKind::tensor) {
      heap.fail("the pickle has a parameter without a tensor");
    }
    heap[object] = PickleValue(heap[state.items[0]]);
  } else if (heap[object].kind == PickleKind::dtype) {  // (version, byte order, …)
    if (state.items.size() > 1 && heap[state.items[1]].text == ">") heap[object].text = ">";
  } else if (heap[object].kind == PickleKind::array && state.items.size() == 5) {
    // An array's: (version, shape, dtype, Fortran order, bytes). Arrays of objects stay opaque.
    const std::vector<PickleRef> items = state.items;
    const PickleRef array = add_array(heap, items[2], items[1], items[4], heap[items[3]].integer != 0);
    heap[object] = PickleValue(heap[array]);
  } else if (heap[object].kind == PickleKind::dict && state.kind == PickleKind::dict && heap[object].items.empty()) {
    // The attributes of a Namespace. A state dictionary also gets attributes (_metadata), which are not items.
    heap.copy_items(state_ref, object);
  }
}

PickleRef TorchObjects::persistent(PickleHeap& heap, PickleRef id_ref) {
  const PickleValue& id = heap[id_ref];
  if (id.kind != PickleKind::tuple || id.items.empty()) heap.fail("the pickle refers to something that is no storage");
  const auto item = [&](size_t i) -> const PickleValue& { return heap[id.items[i]]; };
  // ('module', class, source file, source): a class in the pickle of a whole module.
  if (item(0).text == "module" && id.items.size() > 1 && item(1).kind == PickleKind::global) return id.items[1];
  const Global* named = id.items.size() > 1 && item(1).kind == PickleKind::global ? find_global(item(1).text) : nullptr;
  if (item(0).text != "storage" || id.items.size() < 5 || !named || named->meaning != Meaning::storage_class ||
      item(2).kind != PickleKind::text || item(4).kind != PickleKind::integer) {
    heap.fail("the pickle refers to a storage in a way that coss does not know");
  }
  const std::string key = item(2).text;
  const PickleRef whole = add_storage(heap, key, named->dtype, item(4).integer);
  if (heap[id_ref].items.size() < 6) return whole;
  const PickleValue& part = heap[heap[id_ref].items[5]];  // (key, begin, length)
  if (part.kind != PickleKind::tuple || part.items.size() != 3) return whole;
  return add_part(heap, whole, heap[part.items[1]].integer, heap[part.items[2]].integer);
}

PickleRef TorchObjects::add_storage(PickleHeap& heap, const std::string& key, FileDType dtype, int64_t numel) {
  TorchStorage storage;
  storage.key = key;
  storage.dtype = dtype;
  storage.numel = checked_numel({numel}, dtype, heap.name() + ": storage '" + key + "'");
  const auto [at, fresh] = by_key_.emplace(key, storages_.size());
  if (fresh) {
    storages_.push_back(std::move(storage));
  } else if (storages_[at->second].dtype != dtype || storages_[at->second].numel != numel) {
    heap.fail("the pickle describes storage '" + key + "' in two ways");
  }
  views_.push_back({int64_t(at->second), 0, numel});
  return heap.add({PickleKind::storage, int64_t(views_.size()) - 1, 0, {}, {}});
}

PickleRef TorchObjects::add_part(PickleHeap& heap, PickleRef whole, int64_t begin, int64_t numel) {
  StorageView view = views_[size_t(heap[whole].integer)];
  if (begin < 0 || numel < 0 || begin > view.numel || numel > view.numel - begin) {
    heap.fail("the pickle has a view outside its storage '" + storages_[size_t(view.storage)].key + "'");
  }
  view.begin += begin;
  view.numel = numel;
  views_.push_back(view);
  return heap.add({PickleKind::storage, int64_t(views_.size()) - 1, 0, {}, {}});
}

PickleRef TorchObjects::add_tensor(PickleHeap& heap, FileTensor tensor, PickleRef storage) {
  return add_view(heap, std::move(tensor), views_[size_t(heap[storage].integer)]);
}

FileDType TorchObjects::dtype_of(const PickleHeap& heap, PickleRef type) const {
  const Global* named = heap[type].kind == PickleKind::global ? find_global(heap[type].text) : nullptr;
  if (!named || named->meaning != Meaning::storage_class) {
    heap.fail("the file has a storage or tensor of the unknown class '" + heap[type].text + "'");
  }
  return named->dtype;
}

int64_t TorchObjects::find_storage(const std::string& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? -1 : int64_t(found->second);
}

PickleRef TorchObjects::rebuild_tensor(PickleHeap& heap, const std::vector<PickleRef>& arguments,
                                       const FileDType* dtype) {
  if (heap[arguments[0]].kind != PickleKind::storage || heap[arguments[1]].kind != PickleKind::integer) {
    heap.fail("the pickle has a tensor without a storage");
  }
  const StorageView view = views_[size_t(heap[arguments[0]].integer)];
  FileTensor tensor;
  tensor.dtype = dtype ? *dtype : storages_[size_t(view.storage)].dtype;
  tensor.offset = heap[arguments[1]].integer;
  tensor.shape = heap.integers(arguments[2]);
  tensor.strides = heap.integers(arguments[3]);
  return add_view(heap, std::move(tensor), view);
}

PickleRef TorchObjects::add_view(PickleHeap& heap, FileTensor tensor, const StorageView& view) {
  // A view may repeat elements (stride 0), but not so many that reading it would exhaust the memory.
  constexpr int64_t kMostRepeated = 1 << 24;
  const int64_t width = size_of(tensor.dtype);
  const int64_t held = view.numel * size_of(storages_[size_t(view.storage)].dtype) / width;
  const std::string where = "a tensor of shape " + shape_text(tensor.shape);
  if (tensor.strides.size() != tensor.shape.size()) heap.fail(where + " has another number of strides");
  const int64_t numel = checked_numel(tensor.shape, tensor.dtype, heap.name() + ": " + where);
  if (tensor.offset < 0 || tensor.offset > held) heap.fail(where + " starts outside its storage");
  int64_t last = tensor.offset;
  for (size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    int64_t reach = 0;
    if (tensor.strides[axis] < 0 ||
        (numel > 0 && (__builtin_mul_overflow(tensor.shape[axis] - 1, tensor.strides[axis], &reach) ||
                       __builtin_add_overflow(last, reach, &last)))) {
      heap.fail(where + " has impossible strides");
    }
    if (tensor.shape[axis] == 1) tensor.strides[axis] = 0;  // a file may have any stride there
  }
  if (numel > 0 && last >= held) heap.fail(where + " reaches outside its storage");
  if (numel > held && numel > kMostRepeated) heap.fail(where + " repeats its few numbers too often");
  tensor.storage = view.storage;
  tensor.offset = view.begin * size_of(storages_[size_t(view.storage)].dtype) + tensor.offset * width;
  if (tensors_.size() >= kMostTensors) heap.fail("the pickle makes too many tensors");
  tensors_.push_back(std::move(tensor));
  return heap.add({PickleKind::tensor, int64_t(tensors_.size()) - 1, 0, {}, {}});
}

PickleRef TorchObjects::numpy_dtype(PickleHeap& heap, const std::string& text) const {
  const std::optional<FileDType> known = numpy_format(text);
  return heap.add({PickleKind::dtype, known ? int64_t(*known) : kUnknownDType, 0, {}, {}});
}

PickleRef TorchObjects::numpy_scalar(PickleHeap& heap, PickleRef dtype_ref, PickleRef bytes_ref) const {
  const PickleValue& dtype = heap[dtype_ref];
  const std::string& raw = heap[bytes_ref].text;
  if (dtype.kind != PickleKind::dtype || dtype.integer == kUnknownDType) return heap.add(PickleKind::opaque);
  const FileDType format = FileDType(dtype.integer);
  if (int64_t(raw.size()) != size_of(format)) heap.fail("the pickle has a number of the wrong length");
  std::vector<uint8_t> bytes(raw.begin(), raw.end());
  if (dtype.text == ">") swap_byte_order(bytes, format);
  if (format == FileDType::c64 || format == FileDType::c128) return heap.add(PickleKind::opaque);
  if (format == FileDType::f64) {
    double value;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return heap.add_real(value);
  }
  if (format == FileDType::i64 || format == FileDType::u64) {
    int64_t value;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return heap.add_integer(value);
  }
  const float value = floats_from(bytes, format, "a number")[0];
  if (format == FileDType::f32 || format == FileDType::f16) return heap.add_real(double(value));
  return heap.add_integer(int64_t(value));
}

PickleRef TorchObjects::add_array(PickleHeap& heap, PickleRef dtype_ref, PickleRef shape_ref, PickleRef bytes_ref,
                                  bool fortran) {
  const PickleValue& dtype = heap[dtype_ref];
  if (dtype.kind != PickleKind::dtype || dtype.integer == kUnknownDType) return heap.add(PickleKind::opaque);
  // Python 2 pickles spell bytes as texts.
  if (heap[bytes_ref].kind != PickleKind::bytes && heap[bytes_ref].kind != PickleKind::text) {
    heap.fail("the pickle has an array without bytes");
  }
  FileTensor tensor;
  tensor.dtype = FileDType(dtype.integer);
  tensor.shape = heap.integers(shape_ref);
  const int64_t numel = checked_numel(tensor.shape, tensor.dtype, heap.name() + ": an array");
  TorchStorage storage;
  storage.dtype = tensor.dtype;
  storage.numel = numel;
  storage.big_endian = dtype.text == ">";
  // The bytes are moved, not copied: a pickle that names the same bytes again gets an error instead of more memory.
  const std::string raw = std::move(heap[bytes_ref].text);
  heap[bytes_ref].text.clear();
  storage.bytes.assign(raw.begin(), raw.end());
  if (int64_t(storage.bytes.size()) != numel * size_of(tensor.dtype)) {
    heap.fail("the pickle has an array of shape " + shape_text(tensor.shape) + " with " +
              std::to_string(storage.bytes.size()) + " bytes");
  }
  tensor.strides.resize(tensor.shape.size());
  int64_t stride = 1;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    const size_t axis = fortran ? i : tensor.shape.size() - 1 - i;
    tensor.strides[axis] = stride;
    stride *= std::max<int64_t>(tensor.shape[axis], 1);
  }
  storages_.push_back(std::move(storage));
  return add_view(heap, std::move(tensor), {int64_t(storages_.size()) - 1, 0, numel});
}

}  // namespace coss
