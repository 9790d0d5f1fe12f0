// The table of recipe keys, and everything that follows from it.
#include "training/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <variant>

#include "data/augment.h"
#include "engine/text.h"
#include "formats/layouts.h"

namespace coss {

namespace {

using Json = nlohmann::json;
using MaybeChannels = std::optional<Channels>;
using Views = std::vector<ViewConfig>;
using Target = std::variant<bool*, int*, int64_t*, uint64_t*, float*, double*, std::string*, MaybeChannels*,
                            std::vector<double>*, Views*>;

struct Key {
  std::string name;
  Target target;
  const char* help;
  const MethodOption* option = nullptr;  // of a key under `method.`: its type and bounds
};

// "moco_v1 | moco_v2 | ..."
const char* augmentation_help() {
  static const std::string text = [] {
    std::vector<std::string> names;
    for (const Augmentation& recipe : augmentations()) names.push_back(recipe.name);
    return fmt::format("{}", fmt::join(names, " | "));
  }();
  return text.c_str();
}

// The table of all keys of a recipe. Those under `method.` are the options of the chosen method. A key's default is
// what a new Config holds.
std::vector<Key> keys(Config& c) {
  std::vector<Key> table{
      {"seed", &c.seed, "seed of everything random: initial values, order, augmentation, neighbors"},
      {"device", &c.device, "where to compute: auto (a GPU if one can be used) | cpu | cuda"},
      {"dtype", &c.dtype,
       "dtype of activations and weights: auto (the one that trains fastest) | fp32 | bf16 | fp16 (on a GPU)"},
      {"tf32", &c.tf32, "on a GPU: fp32 products may round their inputs to TF32"},
      {"threads", &c.threads, "threads of the CPU kernels; 0: one per core"},

      {"data.path", &c.data.path, "images: CIFAR binaries, a folder of images or of class folders, or a list file"},
      {"data.test", &c.data.test,
       "test images for kNN, if data.path is not split by itself: another folder or list file"},
      {"data.split", &c.data.split,
       "share of each class that is held out as test images, in place of data.test, as 0.2; 0: none"},
      {"data.split_seed", &c.data.split_seed, "seed that chooses the images that data.split holds out"},
      {"data.image_size", &c.data.image_size, "height and width of the images of a batch, in pixels"},
      {"data.augmentation", &c.data.augmentation, augmentation_help()},
      {"data.views", &c.data.views,
       "views of each image, for methods that take several: [{\"augmentation\": ..., \"image_size\": ..., \"count\": "
       "1}, "
       "...]; "
       "empty: all as data.augmentation and data.image_size"},
      {"data.workers", &c.data.workers, "threads that decode images"},
      {"data.broken", &c.data.broken, "share of the images that may be unreadable; more stop the run"},
      {"data.mean", &c.data.mean,
       "mean of red, green and blue of pixels in [0, 1]; null: as student.weights want, else ImageNet's"},
      {"data.stddev", &c.data.stddev,
       "standard deviation of red, green and blue; null: as student.weights want, else ImageNet's"},

      {"teacher.model", &c.teacher.model,
       "network of the teacher, see `coss models`; empty where the method has no teacher"},
      {"teacher.weights", &c.teacher.weights, "checkpoint of the teacher"},
      {"teacher.from", &c.teacher.from, "layout of teacher.weights: auto, or one of `coss convert --help`"},
      {"student.model", &c.student.model, "network of the student, see `coss models`"},
      {"student.weights", &c.student.weights, "checkpoint that the student starts from; empty: random initial values"},
      {"student.from", &c.student.from, "layout of student.weights, as teacher.from"},
      {"student.classes", &c.student.classes,
       "classes of the student's classifier; 0: those of the data if the method needs labels"},

      {"method.name", &c.method.name, "method, see `coss methods`; it brings the options that follow"},

      {"neighbors.file", &c.neighbors.file,
       "file that `coss mine` wrote; empty: neighbors are mined with the teacher first"},
      {"neighbors.nearest", &c.neighbors.nearest, "neighbors that join each anchor; 0: none"},
      {"neighbors.pool", &c.neighbors.pool, "nearest images from which the neighbors are drawn"},
      {"neighbors.unique", &c.neighbors.unique, "no image comes twice in a batch: others take its place"},

      {"train.batch", &c.train.batch, "images of a step, anchors and neighbors together"},
      {"train.epochs", &c.train.epochs, "passes over the data, with each image as an anchor"},
      {"train.max_steps", &c.train.max_steps, "steps after which the run ends; 0: it ends after train.epochs"},
      {"train.accumulate", &c.train.accumulate, "micro-batches into which a step's batch is split to save memory"},
      {"train.clip_norm", &c.train.clip_norm, "largest norm of the gradient; 0: no limit"},
      {"train.ema_decay", &c.train.ema_decay, "decay of the moving average of the parameters; 0: no average"},

      {"optimizer.name", &c.optimizer.name, "optimizer: sgd | adamw | lars"},
      {"optimizer.weight_decay", &c.optimizer.weight_decay, "weight decay of convolution and linear weights"},
      {"optimizer.decay_rest", &c.optimizer.decay_rest, "weight decay counts for norm parameters and biases too"},
      {"optimizer.momentum", &c.optimizer.momentum, "momentum of sgd and lars"},
      {"optimizer.nesterov", &c.optimizer.nesterov, "Nesterov's momentum for sgd"},
      {"optimizer.beta1", &c.optimizer.beta1, "decay of the gradient's average in adamw"},
      {"optimizer.beta2", &c.optimizer.beta2, "decay of the squared gradient's average in adamw"},
      {"optimizer.eps", &c.optimizer.eps, "what adamw adds to the divisor"},
      {"optimizer.trust", &c.optimizer.trust, "trust coefficient of lars"},

      {"schedule.name", &c.schedule.name, "schedule of the learning rate: constant | step | cosine"},
      {"schedule.learning_rate", &c.schedule.base, "full learning rate"},
      {"schedule.final", &c.schedule.final, "learning rate at the end of cosine"},
      {"schedule.per_epoch", &c.schedule.per_epoch,
       "the learning rate changes between epochs only, else at every step"},
      {"schedule.warmup_epochs", &c.schedule.warmup_epochs, "length of the linear warm-up; may be a fraction"},
      {"schedule.warmup_start", &c.schedule.warmup_start, "learning rate at the start of the warm-up"},
      {"schedule.hold_epochs", &c.schedule.hold_epochs, "epochs of cosine at the full rate, before the curve begins"},
      {"schedule.milestones", &c.schedule.milestones, "epochs at which step multiplies the learning rate"},
      {"schedule.factor", &c.schedule.factor, "factor by which step multiplies the learning rate"},

      {"checkpoint.every_steps", &c.checkpoint.every_steps, "steps between two checkpoints; 0: one at the end"},
      {"checkpoint.keep", &c.checkpoint.keep, "newest checkpoints that are kept; 0: all"},
      {"log.every_steps", &c.log.every_steps, "steps between two lines of the log"},
      {"knn.every_epochs", &c.knn.every_epochs, "epochs between two kNN checks of the student's features; 0: off"},
      {"knn.every_steps", &c.knn.every_steps, "steps between two kNN checks; 0: off"},
      {"knn.k", &c.knn.k, "neighbors that vote in the check"},
  };
  if (!is_method(c.method.name)) return table;
  const auto name = std::find_if(table.begin(), table.end(), [](const Key& key) { return key.name == "method.name"; });
  std::vector<Key> options;
  for (const MethodOption& option : find_method(c.method.name).options)
    options.push_back({std::string("method.") + option.name,
                       &c.method.values.try_emplace(option.name, option.value).first->second, option.help.c_str(),
                       &option});
  table.insert(name + 1, options.begin(), options.end());
  return table;
}

// True for keys of how a run is watched and fed: none of them changes a weight.
bool is_harmless(const std::string& name) {
  for (const char* prefix : {"log.", "checkpoint.", "knn."})
    if (name.starts_with(prefix)) return true;
  return name == "threads" || name == "data.workers" || name == "data.broken";
}

// --- one value ---------------------------------------------------------------------------------------------------

// A float written as JSON must read back as typed: 0.03, not 0.029999999329447746.
double shortest(float value) { return std::stod(fmt::format("{}", value)); }

Json json_of_views(const Views& views) {
  Json list = Json::array();
  for (const ViewConfig& view : views) {
    Json& item = list.emplace_back(Json::object({{"count", view.count}}));
    if (!view.augmentation.empty()) item["augmentation"] = view.augmentation;
    if (view.image_size != 0) item["image_size"] = view.image_size;
  }
  return list;
}

Json json_of(const Target& target) {
  return std::visit(
      [](auto* value) -> Json {
        using T = std::remove_pointer_t<decltype(value)>;
        if constexpr (std::is_same_v<T, MaybeChannels>)
          return *value ? Json{shortest((**value)[0]), shortest((**value)[1]), shortest((**value)[2])} : Json();
        else if constexpr (std::is_same_v<T, float>)
          return shortest(*value);
        else if constexpr (std::is_same_v<T, double>)
          return *value == std::floor(*value) && std::abs(*value) < 1e15 ? Json(int64_t(*value)) : Json(*value);
        else if constexpr (std::is_same_v<T, Views>)
          return json_of_views(*value);
        else
          return *value;
      },
      target);
}

const char* wanted(const Target& target) {
  return std::visit(
      [](auto* value) -> const char* {
        using T = std::remove_pointer_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool>) return "true or false";
        if constexpr (std::is_same_v<T, uint64_t>) return "a whole number of at least 0";
        if constexpr (std::is_same_v<T, int> || std::is_same_v<T, int64_t>) return "a whole number";
        if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) return "a number";
        if constexpr (std::is_same_v<T, std::string>) return "a text";
        if constexpr (std::is_same_v<T, MaybeChannels>) return "a list of three numbers";
        if constexpr (std::is_same_v<T, Views>)
          return "a list of views, each {\"augmentation\": name, \"image_size\": pixels, \"count\": number}";
        return "a list of numbers";
      },
      target);
}

Json json_of(const Key& key) {
  if (key.option && key.option->kind == OptionKind::flag) return *std::get<double*>(key.target) != 0;
  return json_of(key.target);
}

std::string wanted(const Key& key) { return key.option ? values_of(*key.option) : wanted(key.target); }

bool is_list(const Target& target) {
  return std::holds_alternative<MaybeChannels*>(target) || std::holds_alternative<std::vector<double>*>(target) ||
         std::holds_alternative<Views*>(target);
}

template <class T>
bool read_integer(const Json& json, T& value) {
  if (json.is_number_unsigned()) {
    const auto number = json.get<uint64_t>();
    if (number > uint64_t(std::numeric_limits<T>::max())) return false;
    value = T(number);
    return true;
  }
  if (json.is_number_integer()) {  // negative
    const auto number = json.get<int64_t>();
    if (std::is_unsigned_v<T> || number < int64_t(std::numeric_limits<T>::min())) return false;
    value = T(number);
    return true;
  }
  if (!json.is_number_float()) return false;
  const double number = json.get<double>();  // 1e3 is a whole number too
  if (number != std::floor(number) || std::abs(number) > 1e9 || (std::is_unsigned_v<T> && number < 0)) return false;
  value = T(number);
  return true;
}

// Null means that nothing is given.
bool read_channels(const Json& json, MaybeChannels& channels) {
  channels.reset();
  if (json.is_null()) return true;
  if (!json.is_array() || json.size() != 3) return false;
  channels.emplace();
  for (size_t i = 0; i < 3; ++i) {
    if (!json[i].is_number()) return false;
    (*channels)[i] = float(json[i].get<double>());
  }
  return true;
}

// A view may leave out what it takes from data.augmentation and data.image_size.
bool read_views(const Json& json, Views& views) {
  if (!json.is_array()) return false;
  views.clear();
  for (const Json& item : json) {
    if (!item.is_object()) return false;
    ViewConfig& view = views.emplace_back();
    for (const auto& [word, value] : item.items()) {
      if (word == "augmentation" && value.is_string())
        view.augmentation = value.get<std::string>();
      else if (!(word == "image_size" && read_integer(value, view.image_size)) &&
               !(word == "count" && read_integer(value, view.count)))
        return false;
    }
  }
  return true;
}

bool read(const Json& json, const Target& target) {
  return std::visit(
      [&](auto* value) {
        using T = std::remove_pointer_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool>) {
          if (json.is_boolean()) *value = json.get<bool>();
          return json.is_boolean();
        } else if constexpr (std::is_same_v<T, std::string>) {
          if (json.is_string()) *value = json.get<std::string>();
          return json.is_string();
        } else if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
          if (json.is_number()) *value = T(json.get<double>());
          return json.is_number() && std::isfinite(*value);
        } else if constexpr (std::is_integral_v<T>) {
          return read_integer(json, *value);
        } else if constexpr (std::is_same_v<T, Views>) {
          return read_views(json, *value);
        } else if constexpr (std::is_same_v<T, MaybeChannels>) {
          return read_channels(json, *value);
        } else {
          if (!json.is_array()) return false;
          for (const Json& item : json)
            if (!item.is_number()) return false;
          *value = json.get<std::vector<double>>();
          return true;
        }
      },
      target);
}

bool read(const Json& json, const Key& key) {
  if (!key.option) return read(json, key.target);
  const bool flag = key.option->kind == OptionKind::flag && json.is_boolean();  // else 0 or 1
  if (!flag && !json.is_number()) return false;
  const double value = flag ? double(json.get<bool>()) : json.get<double>();
  if (key.option->takes(value)) *std::get<double*>(key.target) = value;
  return key.option->takes(value);
}

// --- a whole recipe ----------------------------------------------------------------------------------------------

// Applies values to keys and collects what is wrong with them.
class Reader {
 public:
  explicit Reader(Config& config) : config_(config), keys_(keys(config)) {}

  void object(const Json& json, const std::string& prefix) {
    for (const auto& [word, value] : json.items()) {
      const std::string name = prefix + word;
      if (value.is_object() && is_group(name))
        object(value, name + ".");
      else
        set(name, value);
    }
  }

  void override(const std::string& text) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      complaints.push_back(fmt::format("'{}' is no override: write key.sub=value", text));
      return;
    }
    const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    const Key* key = find(name);
    if (!key) {
      unknown(name);
    } else if (std::holds_alternative<std::string*>(key->target)) {
      set(name, value);
    } else {
      const bool bare_list = is_list(key->target) && !value.starts_with('[') && value != "null";
      const Json json = Json::parse(bare_list ? "[" + value + "]" : value, nullptr, false);
      set(name, json.is_discarded() ? Json(value) : json);
    }
  }

  std::vector<std::string> complaints;

 private:
  const Key* find(const std::string& name) const {
    for (const Key& key : keys_)
      if (name == key.name) return &key;
    return nullptr;
  }

  bool is_group(const std::string& name) const {
    return std::any_of(keys_.begin(), keys_.end(), [&](const Key& key) { return key.name.starts_with(name + "."); });
  }

  void set(const std::string& name, const Json& value) {
    const Key* key = find(name);
    if (!key) {
      unknown(name);
    } else if (!read(value, *key)) {
      std::string shown = value.dump(-1, ' ', false, Json::error_handler_t::replace);
      if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
      complaints.push_back(fmt::format("{} must be {}, found {}", name, wanted(*key), shown));
    }
  }

  void unknown(const std::string& name) {
    if (is_group(name)) {
      complaints.push_back(fmt::format("{} is a group of keys, not a value", name));
      return;
    }
    if (name.starts_with("method.") && !is_method(config_.method.name)) return;  // the name is the mistake
    std::vector<std::string> names;
    std::string guess;
    for (const Key& key : keys_) {
      names.push_back(key.name);
      if (const size_t dot = key.name.find('.'); dot != std::string::npos) names.push_back(key.name.substr(0, dot));
      // The right word in the wrong group.
      const std::string leaf = name.substr(name.rfind('.') + 1);
      if (key.name.substr(key.name.rfind('.') + 1) == leaf) guess = key.name;
    }
    if (const std::string near = nearest(name, names); !near.empty()) guess = near;
    std::string shown = name.size() > 60 ? name.substr(0, 57) + "..." : name;
    const bool option = name.starts_with("method.");
    complaints.push_back(fmt::format("unknown key '{}'", shown) +
                         (option ? fmt::format(": the method {} has no such option", config_.method.name) : "") +
                         (guess.empty() ? "" : fmt::format("; did you mean '{}'?", guess)));
  }

  const Config& config_;
  std::vector<Key> keys_;
};

// JSON with comments. A key that stands twice in one object is refused: only one of the two values could be meant.
Json parse_json(const std::string& text, const std::string& origin) {
  std::vector<std::set<std::string>> open;
  std::string repeated;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    COSS_CHECK(depth < 16, fmt::format("{} is no valid recipe: nested too deeply", origin));
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && !open.back().insert(value.get<std::string>()).second)
      repeated = value.get<std::string>();
    return true;
  };
  Json json;
  try {
    json = Json::parse(text, watch, true, true);
  } catch (const Json::exception& error) {
    std::string what = error.what();
    if (const size_t end = what.find("] "); end != std::string::npos) what = what.substr(end + 2);
    throw Error(fmt::format("{} is no valid recipe: {}", origin, what));
  }
  COSS_CHECK(repeated.empty(), fmt::format("{}: key '{}' stands there twice", origin, repeated));
  COSS_CHECK(json.is_object(), fmt::format("{} is no valid recipe: it must be one JSON object {{...}}", origin));
  return json;
}

// The name that the recipe or, after it, an override gives. It decides which other keys there are under `method.`.
std::optional<std::string> method_name(const Json& json, const std::vector<std::string>& overrides) {
  std::optional<std::string> name;
  for (const char* place : {"/method/name", "/method.name"}) {
    const Json::json_pointer at(place);
    if (json.contains(at) && json[at].is_string()) name = json[at].get<std::string>();
  }
  for (const std::string& item : overrides)
    if (item.starts_with("method.name=")) name = item.substr(item.find('=') + 1);
  return name;
}

}  // namespace

Config parse_config(const std::string& text, const std::string& origin, const std::vector<std::string>& overrides) {
  Config config;
  const Json json = parse_json(text, origin);
  if (const auto name = method_name(json, overrides)) {
    if (is_method(*name))
      config.method = MethodOptions(*name);
    else
      config.method.name = *name;  // check() says so
  }
  Reader reader(config);
  reader.object(json, "");
  for (const std::string& item : overrides) reader.override(item);
  if (!reader.complaints.empty()) refuse(origin, reader.complaints);
  check(config);
  return config;
}

Config load_config(const std::string& file, const std::vector<std::string>& overrides) {
  constexpr size_t kLargest = size_t(1) << 20;
  std::ifstream stream(file, std::ios::binary);
  std::string text(kLargest + 1, '\0');
  stream.read(text.data(), std::streamsize(text.size()));
  COSS_CHECK(stream.gcount() > 0 || stream.eof(), fmt::format("cannot read recipe {}", file));
  COSS_CHECK(size_t(stream.gcount()) <= kLargest, fmt::format("{} is no recipe: larger than 1 MiB", file));
  text.resize(size_t(stream.gcount()));
  return parse_config(text, file, overrides);
}

std::string to_json(const Config& config) {
  Config copy = config;
  std::string text = "{", group;
  for (const Key& key : keys(copy)) {
    const std::string& name = key.name;
    const size_t dot = name.find('.');
    const std::string prefix = dot == std::string::npos ? "" : name.substr(0, dot);
    const bool first = text.back() == '{';
    if (prefix != group) {
      if (!group.empty()) text += "\n  }";
      text += fmt::format(",\n  \"{}\": {{", prefix);
      group = prefix;
    } else if (!first) {
      text += ",";
    }
    const std::string value = json_of(key).dump(-1, ' ', false, Json::error_handler_t::replace);
    text += fmt::format("\n{}\"{}\": {}", prefix.empty() ? "  " : "    ", prefix.empty() ? name : name.substr(dot + 1),
                        value);
  }
  return text + (group.empty() ? "\n}\n" : "\n  }\n}\n");
}

std::string config_help() {
  Config defaults;
  std::string text = "Keys of a recipe, with their defaults:\n";
  for (const Key& key : keys(defaults))
    text += fmt::format("  {:<42} {}\n", fmt::format("{} = {}", key.name, json_of(key).dump()), key.help);
  return text;
}

std::vector<std::string> differences(const Config& before, const Config& after) {
  Config a = before, b = after;
  std::map<std::string, Json> was;
  for (const Key& key : keys(a)) was[key.name] = json_of(key);
  std::vector<std::string> changed;
  for (const Key& key : keys(b)) {
    const Json is = json_of(key);
    const auto old = was.find(key.name);
    if (is_harmless(key.name) || (old != was.end() && old->second == is)) continue;
    changed.push_back(fmt::format("{}: {} -> {}", key.name, old == was.end() ? "none" : old->second.dump(), is.dump()));
  }
  return changed;
}

}  // namespace coss
