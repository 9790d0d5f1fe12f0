// The pickle machine: every opcode group, and malicious pickles.
#include "formats/pickle.h"

#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

struct NoHost : PickleHost {
  bool knows(const std::string& global) override { return global == "known.thing"; }
  PickleRef call(PickleHeap& heap, const std::string&, PickleRef arguments) override {
    return heap.add_integer(int64_t(heap[arguments].items.size()));
  }
  void build(PickleHeap& heap, PickleRef object, PickleRef state) override { heap.copy_items(state, object); }
  PickleRef persistent(PickleHeap& heap, PickleRef) override { return heap.add_text("stored"); }
};

std::string enclose(std::string open, const std::string& text, const char* close) {
  open += text;
  open += close;
  return open;
}

// A pickle's value as text, for short expectations.
std::string show(const PickleHeap& heap, PickleRef ref, int depth = 0) {
  const PickleValue& value = heap[ref];
  std::string items;
  for (PickleRef item : value.items) {
    if (!items.empty()) items += ' ';
    items += depth > 5 ? std::string("…") : show(heap, item, depth + 1);
  }
  switch (value.kind) {
    case PickleKind::none:
      return "None";
    case PickleKind::boolean:
      return value.integer ? "True" : "False";
    case PickleKind::integer:
      return std::to_string(value.integer);
    case PickleKind::real:
      return std::to_string(value.real).substr(0, 5);
    case PickleKind::text:
      return enclose("'", value.text, "'");
    case PickleKind::bytes:
      return enclose("b'", value.text, "'");
    case PickleKind::list:
      return enclose("[", items, "]");
    case PickleKind::tuple:
      return enclose("(", items, ")");
    case PickleKind::dict:
      return enclose("{", items, "}");
    case PickleKind::set:
      return enclose("<", items, ">");
    default:
      return "?";
  }
}

std::string run(const std::string& pickle) {
  ByteStream stream("test.pkl", std::vector<uint8_t>(pickle.begin(), pickle.end()));
  PickleHeap heap("test.pkl");
  NoHost host;
  return show(heap, run_pickle(stream, heap, host));
}

std::string refuse(const std::string& pickle) {
  return error_of([&] { run(pickle); });
}

TEST(Pickle, Literals) {
  EXPECT_EQ(run("(NI01\nI00\nI-7\nL12L\nF2.5\nS'a b'\nVtext\nt."), "(None True False -7 12 2.500 'a b' 'text')");
  EXPECT_EQ(run("\x80\x02(\x88\x89K\xffM\xff\xffJ\xff\xff\xff\xfft."), "(True False 255 65535 -1)");
  EXPECT_EQ(run(std::string("(\x8a\x02\x00\x80\x8a\x00\x8b\x01\x00\x00\x00\x07t.", 15)), "(-32768 0 7)");
  EXPECT_EQ(run(std::string("G\x3f\xf8\x00\x00\x00\x00\x00\x00.", 10)), "1.500");
  EXPECT_EQ(run("(T" + little(2, 4) + "ab" + "U\x01" + "cX" + little(1, 4) + "d\x8c\x01" + "e\x8d" + little(1, 8) +
                "f" + "B" + little(1, 4) + "gC\x01h\x8e" + little(1, 8) + "i\x96" + little(1, 8) + "jt."),
            "('ab' 'c' 'd' 'e' 'f' b'g' b'h' b'i' b'j')");
  EXPECT_EQ(run("\x80\x04\x95" + little(3, 8) + "K\x05."), "5");
}

TEST(Pickle, Containers) {
  EXPECT_EQ(run("(K\x01K\x02lK\x03"
                "a."),
            "[1 2 3]");
  EXPECT_EQ(run("](K\x01K\x02"
                "e."),
            "[1 2]");
  EXPECT_EQ(run("(K\x01K\x02"
                "dK\x03K\x04s(K\x05K\x06u."),
            "{1 2 3 4 5 6}");
  EXPECT_EQ(run("\x8f(K\x01\x90."), "<1>");
  EXPECT_EQ(run("(K\x01\x91."), "<1>");
  EXPECT_EQ(run(")K\x01\x85K\x02K\x03\x86K\x04K\x05K\x06\x87\x86\x87."), "(() (1) ((2 3) (4 5 6)))");
  EXPECT_EQ(run("K\x01K\x02"
                "0."),
            "1");
  EXPECT_EQ(run("K\x01(K\x02K\x03"
                "12\x86."),
            "(1 1)");
}

TEST(Pickle, MemoAndCalls) {
  EXPECT_EQ(run("K\x07q\x05h\x05\x86."), "(7 7)");
  EXPECT_EQ(run("K\x07r" + little(70000, 4) + "j" + little(70000, 4) + "\x86."), "(7 7)");
  EXPECT_EQ(run("K\x07p12\ng12\n\x86."), "(7 7)");
  EXPECT_EQ(run("K\x07\x94h" + std::string(1, '\0') + "\x86."), "(7 7)");
  EXPECT_EQ(run("cknown\nthing\n(K\x01K\x02tR."), "2");
  EXPECT_EQ(run("\x8c\x05known\x8c\x05thing\x93)\x81."), "0");
  EXPECT_EQ(run("cknown\nthing\n)}\x92."), "0");
  EXPECT_EQ(run("](K\x01lb."), "[1]");
  EXPECT_EQ(run("Pkey\n."), "'stored'");
  EXPECT_EQ(run("NQ."), "'stored'");
}

TEST(Pickle, SelfReferenceIsHarmless) {
  EXPECT_EQ(run("]q\x01h\x01"
                "a.")
                .substr(0, 4),
            "[[[[");
}

TEST(Pickle, RefusesCorruption) {
  for (const char* pickle : {"",
                             "K",
                             "X\xff\xff\xff\xff",
                             "(K\x01",
                             ".",
                             "0.",
                             "t.",
                             "h\x01.",
                             "K\x01K\x02R.",
                             "](K\x01K\x02u.",
                             "}K\x01"
                             "a.",
                             "}(K\x01u.",
                             "Ix\n.",
                             "I99999999999999999999\n.",
                             "F--\n.",
                             "\x80\x09.",
                             "\xff.",
                             "i.",
                             "o.",
                             "\x82\x01.",
                             "\x97.",
                             "(0(1K\x01"
                             "0.",
                             "K\x01(\x85.",
                             "\x93.",
                             "S'a\\n'\n.",
                             "Sx\n."}) {
    expect_contains(refuse(pickle), "test.pkl");
  }
  refuse("\x8b\xff\xff\xff\xffK.");
  for (const uint64_t length : {uint64_t(1) << 63, ~uint64_t(0)}) {
    for (std::string pickle : {"\x8d", "\x8e", "\x96"}) {
      pickle += little(length, 8);
      pickle += "x.";
      refuse(pickle);
    }
  }
  expect_contains(refuse("cos\nsystem\n(Vls\ntR."), "the pickle wants to call 'os.system', which coss never does");
  expect_contains(refuse("\x8c\x08"
                         "builtins\x8c\x04"
                         "eval\x93."),
                  "'builtins.eval'");
}

TEST(Pickle, DeepNestingNeedsNoStack) {
  std::string lists(1 << 20, ']');
  EXPECT_EQ(run(lists + std::string((1 << 20) - 1, 'a') + ".").substr(0, 3), "[[[");
  refuse(std::string(1 << 20, '(') + ".");
}

// --- the same through a checkpoint, where containers are flattened --------------------------------------------------

const std::string kTensorHead = "ctorch._utils\n_rebuild_tensor_v2\n((X" + little(7, 4) +
                                "storagectorch\nFloatStorage\nX" + little(1, 4) + "0X" + little(3, 4) + "cpuK\x04tQ";

std::string long1(int64_t value) { return "\x8a\x08" + little(uint64_t(value), 8); }

// A tensor of storage "0" (four floats) with one dimension.
std::string tensor(int64_t offset, int64_t size, int64_t stride) {
  return kTensorHead + long1(offset) + long1(size) + "\x85" + long1(stride) + "\x85\x89NtR";
}

class HostilePickle : public ::testing::Test {
 protected:
  const std::string path_ = scratch_folder() + "/hostile.pt";
  TensorFile open(const std::string& pickle) {
    write_pickle_zip(path_, pickle);
    return open_tensor_file(path_);
  }
  std::string refuse_file(const std::string& pickle) {
    return error_of([&] { open(pickle); });
  }
};

TEST_F(HostilePickle, ViewsStayInsideTheirStorage) {
  EXPECT_EQ(open(tensor(0, 4, 1) + ".").tensors()[0].name, "tensor");
  EXPECT_EQ(open(tensor(3, 1000, 0) + ".").tensors()[0].numel(), 1000);
  EXPECT_EQ(open(tensor(4, 0, 1) + ".").tensors()[0].numel(), 0);
  EXPECT_TRUE(reads_or_refuses(path_));
  const int64_t huge = INT64_MAX;
  for (const auto& [offset, size, stride] : std::vector<std::array<int64_t, 3>>{{0, 5, 1},
                                                                                {1, 4, 1},
                                                                                {0, 3, 2},
                                                                                {5, 0, 1},
                                                                                {-1, 2, 1},
                                                                                {3, 2, -1},
                                                                                {0, -1, 1},
                                                                                {huge, 1, 1},
                                                                                {1, huge, 1},
                                                                                {1, huge, huge},
                                                                                {1, 3, huge / 2 + 1},
                                                                                {0, int64_t(1) << 40, 0}}) {
    expect_contains(refuse_file(tensor(offset, size, stride) + "."), "hostile.pt");
  }
}

TEST_F(HostilePickle, SizesOverflow) {
  const std::string big = long1(int64_t(1) << 32);
  const std::string shape = "(" + big + big + big + "t",
                    strides =
                        "(K" + std::string(1, '\0') + "K" + std::string(1, '\0') + "K" + std::string(1, '\0') + "t";
  refuse_file(kTensorHead + "K" + std::string(1, '\0') + shape + strides + "\x89NtR.");
  const std::string storage = "(X" + little(7, 4) + "storagectorch\nDoubleStorage\nX" + little(1, 4) + "0X" +
                              little(3, 4) + "cpu" + long1(INT64_MAX) + "tQ.";
  expect_contains(refuse_file(storage), "impossibly large");
}

TEST_F(HostilePickle, ContainersThatHoldThemselves) {
  EXPECT_TRUE(open("}q\x01X" + little(4, 4) + "selfh\x01X" + little(1, 4) + "w" + tensor(0, 4, 1) + "\x87.").find("2"));
  EXPECT_TRUE(open("}q\x01(X" + little(4, 4) + "selfh\x01X" + little(1, 4) + "w" + tensor(0, 4, 1) + "u.").find("w"));
}

TEST_F(HostilePickle, ContainersThatMultiply) {
  // Each list holds the one before twenty times: written out these would be 20^12 tensors.
  std::string pickle = tensor(0, 4, 1) + "q\x01";
  for (int i = 1; i <= 12; ++i) {
    pickle += "(";
    for (int k = 0; k < 20; ++k) pickle += std::string("h") + char(i);
    pickle += std::string("lq") + char(i + 1);
  }
  refuse_file(pickle + ".");
  // A deep nest of lists, all of which hold a tensor at the end.
  refuse_file(std::string(200, '(') + tensor(0, 4, 1) + std::string(200, 'l') + ".");
}

TEST_F(HostilePickle, CopiesAreLimited) {
  std::string pickle = "(";
  for (int i = 0; i < 4000; ++i) pickle += "K\x01K\x02";
  pickle +=
      "dq\x01"
      "0ccollections\nOrderedDict\nq\x02"
      "0";
  for (int i = 0; i < 10000; ++i) pickle += "h\x02h\x01\x85R";
  expect_contains(refuse_file(pickle + "."), "copies");
}

TEST_F(HostilePickle, CallsNothing) {
  expect_contains(refuse_file("cos\nsystem\n(Vtouch x\ntR."), "os.system");
  expect_contains(refuse_file("cposix\nsystem\n."), "posix.system");
  expect_contains(refuse_file("ctorch\nload\n."), "torch.load");
  expect_contains(refuse_file("ctorch\nFloatStorage\n)R."), "torch.FloatStorage");
  expect_contains(refuse_file("ctorch._utils\n_rebuild_tensor_v2\n)R."), "too few arguments");
  expect_contains(refuse_file("ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR."), "without a storage");
  expect_contains(refuse_file("NQ."), "storage");
  expect_contains(refuse_file("(X" + little(6, 4) + "moduletQ."), "refers to a storage");
  refuse_file("cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nVf8\n\x85RVabc\n\x86R.");
}

// An instance of an unknown class is a bag of attributes; nothing else of that class is used.
std::string instance(const std::string& type, const std::string& attributes) {
  return "c" + type + "\n)\x81}(" + attributes + "ub";
}
std::string text(const std::string& value) { return "X" + little(value.size(), 4) + value; }

TEST_F(HostilePickle, InstancesAreBagsOfAttributes) {
  const std::string weight = text("w") + tensor(0, 4, 1);
  const TensorFile plain = open(instance("my\nNet", weight + text("size") + "K\x07" + text("training") + "\x88") + ".");
  EXPECT_EQ(plain.tensors().at(0).name, "w");
  EXPECT_EQ(plain.metadata(), (std::map<std::string, std::string>{{"size", "7"}}));
  // A subclass of a dictionary with items, a class with slots, and an instance in protocol 0.
  EXPECT_TRUE(open("cmy\nDict\n)\x81(" + weight + "u.").find("w"));
  EXPECT_TRUE(open("cmy\nNet\n)\x81N}(" + weight +
                   "u\x86"
                   "b.")
                  .find("w"));
  EXPECT_TRUE(open("ccopy_reg\n_reconstructor\n(cmy\nNet\nc__builtin__\nobject\nNtR}(" + weight + "ub.").find("w"));
  EXPECT_TRUE(open("ccopy_reg\n__newobj__\ncmy\nNet\n\x85R}(" + weight + "ub.").find("w"));
  // A class in a persistent id, and an attribute that names a function.
  EXPECT_TRUE(
      open("(" + text("module") + "cmy\nNet\n" + text("net.py") + text("") + "tQ)\x81}(" + weight + "ub.").find("w"));
  EXPECT_TRUE(open(instance("my\nNet", weight + text("act") + "cmy\nrelu\n") + ".").find("w"));
}

TEST_F(HostilePickle, ModulesAreNamedAsTheirStateDictionary) {
  const auto dict = [](const std::string& name, const std::string& items) { return text(name) + "}(" + items + "u"; };
  const std::string inner =
      instance("my\nInner", dict("_parameters", text("weight") + tensor(0, 4, 1) + text("bias") + "N") +
                                dict("_buffers", text("mean") + tensor(0, 2, 1) + text("cache") + tensor(0, 1, 1)) +
                                dict("_modules", "") + text("_non_persistent_buffers_set") + "(" + text("cache") +
                                "\x91" + text("loose") + tensor(0, 3, 1) + text("width") + "K\x05");
  const TensorFile file = open(instance("my\nOuter", dict("_parameters", "") + dict("_buffers", "") +
                                                         dict("_modules", text("0") + inner + text("none") + "N") +
                                                         text("width") + "K\x09") +
                               ".");
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[0].name, "0.weight");
  EXPECT_EQ(file.tensors()[1].name, "0.mean");
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"width", "9"}}));
}

TEST_F(HostilePickle, InstancesDoNothing) {
  const std::string weight = text("w") + tensor(0, 4, 1);
  // Names that run programs are refused everywhere: called, called with arguments, with a state, or left empty.
  expect_contains(refuse_file("cos\nsystem\n)R."), "wants to call 'os.system'");
  expect_contains(refuse_file("cos\nsystem\n" + text("ls") + "\x85\x81."), "wants to call 'os.system'");
  expect_contains(refuse_file("ccopyreg\n__newobj__\ncos\nsystem\n" + text("ls") + "\x86R."), "'os.system'");
  expect_contains(refuse_file("cos\nsystem\n)\x81" + text("ls") + "b."), "'os.system'");
  expect_contains(refuse_file("cos\nsystem\n)\x81Nb."), "'os.system'");
  expect_contains(refuse_file("cos\nsystem\n)\x81."), "'os.system'");
  expect_contains(refuse_file("ccopyreg\n_reconstructor\n(cos\nsystem\nc__builtin__\nstr\nNtR."), "'os.system'");
  refuse_file("ccopyreg\n_reconstructor\n(NNNtR.");
  refuse_file("ccopyreg\n__newobj__\nccopyreg\n__newobj__\n\x85R.");
  // List items for an object that may be a subclass of list, or not.
  EXPECT_TRUE(open("cmy\nNet\n)\x81](K\x01"
                   "ea.")
                  .tensors()
                  .empty());
  expect_contains(refuse_file("}(" + weight + text("f") + "cos\nsystem\nu."), "'os.system'");
  // Bags that hold themselves, and many objects with one long name.
  EXPECT_TRUE(open("cmy\nNet\n)\x81q\x01}(" + text("self") + "h\x01" + weight + "ub.").find("w"));
  std::string names = "\x80\x04" + text(std::string(1 << 16, 'n')) +
                      "q\x01"
                      "0(";
  for (int i = 0; i < 4000; ++i) names += "h\x01h\x01\x93";
  expect_contains(refuse_file(names + "l."), "copies");
}

// Values of unknown classes besides the weights are left out and named, and none of their code runs.
TEST_F(HostilePickle, ForeignValuesAreLeftOut) {
  const std::string weight = text("w") + tensor(0, 4, 1);
  const auto beside = [&](const std::string& value) { return open("}(" + weight + text("x") + value + "u."); };
  const auto left_out = [&](const std::string& value, const std::string& name) {
    const TensorFile file = beside(value);
    EXPECT_EQ(file.tensors().size(), 1u) << name;
    EXPECT_TRUE(file.find("w")) << name;
    EXPECT_EQ(file.unknown_classes(), std::vector<std::string>{name});
  };
  left_out("cmy\nfunction\n", "my.function");
  left_out("cmy\nKind\nK\x03\x85R", "my.Kind");                      // an enumeration
  left_out("cmy\nEmpty\n)\x81", "my.Empty");                         // without attributes
  left_out("cmy\nThing\n)\x81" + text("state") + "b", "my.Thing");   // with a state that only the class understands
  left_out("cmy\nPair\nK\x01K\x02\x86\x81", "my.Pair");              // a named tuple
  left_out("cmy\nPair\n)}(" + text("a") + "K\x01u\x92", "my.Pair");  // made from named arguments
  left_out(
      "cmy\nmake\nK\x01\x85R(K\x05K\x06"
      "e",
      "my.make");  // called, then filled as a list
  left_out("ccopyreg\n_reconstructor\n(cmy\nText\nc__builtin__\nstr\n" + text("a") + "tR", "my.Text");
  left_out("ccopyreg\n__newobj__\ncmy\nPair\nK\x01\x86R", "my.Pair");
  // An unknown subclass of dict that is called and then filled has its tensors under their names.
  EXPECT_TRUE(beside("cmy\nDict\n)R(" + weight + "u").find("x.w"));
  EXPECT_TRUE(beside("cmy\nPair\n" + tensor(0, 4, 1) + "K\x02\x86\x81").find("x.0"));
  EXPECT_TRUE(beside("ccollections\ndeque\n)R(" + tensor(0, 4, 1) + tensor(0, 4, 1) + "e").find("x.1"));
  refuse_file("ccopyreg\n_reconstructor\n(ccopyreg\n_reconstructor\nc__builtin__\nobject\nNtR.");
}

TEST_F(HostilePickle, TensorsWithoutReadableValuesHaveTheirShape) {
  const auto unreadable = [&](const std::string& value, const std::vector<int64_t>& shape, const std::string& why) {
    const TensorFile file = open("}(" + text("w") + tensor(0, 4, 1) + text("x") + value + "u.");
    EXPECT_EQ(file.read_floats(*file.find("w")).size(), 4u);
    ASSERT_TRUE(file.find("x"));
    EXPECT_EQ(file.find("x")->shape, shape);
    expect_contains(error_of([&] { file.read_floats(*file.find("x")); }), "tensor 'x' " + why);
  };
  const std::string rebuild = "ctorch._utils\n_rebuild_";
  unreadable(rebuild + "meta_tensor_no_storage\n(ctorch\nfloat32\n(K\x02K\x03t(K\x03K\x01t\x89tR", {2, 3},
             "has no values");
  unreadable(rebuild + "sparse_tensor\n(K\x01(" + tensor(0, 4, 1) + tensor(0, 2, 1) + "(K\x05K\x06tttR", {5, 6},
             "is sparse");
  unreadable(rebuild + "tensor_v3\n(" + kTensorHead.substr(kTensorHead.find("((") + 2 - 1) +
                 "K\x01(K\x03t(K\x01t\x89Nctorch\nquint4x2\ntR",
             {3}, "has the dtype torch.quint4x2");
}

TEST_F(HostilePickle, ParametersOfTheFirstReleases) {
  const std::string parameter = "ctorch.nn.parameter\nParameter\n";
  EXPECT_EQ(open(parameter + ")\x81(" + tensor(0, 4, 1) + "NN\x88\x89tb.").tensors().at(0).numel(), 4);
  EXPECT_EQ(open(parameter + tensor(0, 3, 1) + "\x85\x81(\x88\x89Ntb.").tensors().at(0).numel(), 3);
  expect_contains(refuse_file(parameter + ")\x81(NNN\x88\x89tb."), "a parameter without a tensor");
  EXPECT_TRUE(open(parameter + ")\x81.").tensors().empty());
}

}  // namespace
}  // namespace coss::test
