// Recipes: what is read, what is refused and in which words.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engine/check.h"
#include "tests/support/program.h"
#include "tests/support/support.h"
#include "training/recipe.h"
#include "training/resolve.h"

namespace coss {
namespace {

using test::contains;

const char* const kRecipe = R"({
  // a comment
  "seed": 7,
  "data": {"path": "images", "image_size": 32, "augmentation": "cifar", "mean": [0.5, 0.25, 0.125]},
  "teacher": {"model": "resnet56_cifar", "weights": "t.th"},
  "student": {"model": "resnet20_cifar"}, /* another */
  "neighbors": {"nearest": 15, "pool": 31},
  "train": {"batch": 256},
  "schedule": {"name": "step", "learning_rate": 0.03, "milestones": [30, 60]}
})";

std::string complaint(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse_config(text, "recipe.json", overrides);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// The same student, trained with labels.
Config without_teacher(Config config) {
  config.method = MethodOptions("supervised");
  return config;
}

TEST(Config, ReadsValuesCommentsAndDefaults) {
  const Config config = parse_config(kRecipe, "recipe.json", {});
  EXPECT_EQ(config.seed, 7u);
  EXPECT_EQ(config.data.image_size, 32);
  ASSERT_TRUE(config.data.mean);
  EXPECT_FLOAT_EQ((*config.data.mean)[1], 0.25f);
  EXPECT_FALSE(config.data.stddev);
  EXPECT_FLOAT_EQ(resolve(without_teacher(config)).normalization.stddev[0], 0.229f);
  EXPECT_EQ(config.schedule.base, 0.03);
  EXPECT_EQ(config.schedule.milestones, (std::vector<double>{30, 60}));
  EXPECT_EQ(config.anchors(), 16);
  EXPECT_EQ(config.method.name, "coss");
}

TEST(Config, OverridesWin) {
  const Config config = parse_config(kRecipe, "recipe.json",
                                     {"train.max_steps=1e3", "data.path=a=b", "schedule.milestones=1,2.5",
                                      "data.stddev=[1,2,3]", "optimizer.nesterov=true", "optimizer.weight_decay=1e-4"});
  EXPECT_EQ(config.train.max_steps, 1000);
  EXPECT_EQ(config.data.path, "a=b");
  EXPECT_EQ(config.schedule.milestones, (std::vector<double>{1, 2.5}));
  ASSERT_TRUE(config.data.stddev);
  EXPECT_FLOAT_EQ((*config.data.stddev)[2], 3);
  EXPECT_TRUE(config.optimizer.nesterov);
  EXPECT_FLOAT_EQ(config.optimizer.weight_decay, 1e-4f);
}

TEST(Config, ListsAllUnknownKeysWithTheNearest) {
  const std::string text = complaint(R"({"sede": 1, "trian": {"batch": 3}, "data": {"pth": "x"}})",
                                     {"schedule.learning_rat=1", "train.learning_rate=2", "nonsense"});
  EXPECT_TRUE(contains(text, "recipe.json: 6 mistakes")) << text;
  for (const char* part :
       {"'sede'; did you mean 'seed'?", "'trian'", "'data.pth'; did you mean 'data.path'?",
        "'schedule.learning_rat'; did you mean 'schedule.learning_rate'?",
        "'train.learning_rate'; did you mean 'schedule.learning_rate'?", "'nonsense' is no override"})
    EXPECT_TRUE(contains(text, part)) << part << " in: " << text;
}

TEST(Config, NamesKeyAndValueOfAWrongType) {
  const std::string text =
      complaint(R"({"seed": -1, "train": {"batch": "many", "epochs": 1.5}, "data": {"mean": [1, 2]}, "student": 3})");
  for (const char* part :
       {"seed must be a whole number of at least 0, found -1", "train.batch must be a whole number, found \"many\"",
        "train.epochs must be a whole number, found 1.5", "data.mean must be a list of three numbers, found [1,2]",
        "student is a group of keys"})
    EXPECT_TRUE(contains(text, part)) << part << " in: " << text;
  EXPECT_TRUE(contains(complaint(kRecipe, {"threads=99999999999"}), "threads must be a whole number"));
  EXPECT_TRUE(contains(complaint(kRecipe, {"schedule.learning_rate=fast"}), "must be a number, found \"fast\""));
}

TEST(Config, RefusesValuesThatDoNotFitTogether) {
  EXPECT_TRUE(contains(complaint(kRecipe, {"train.batch=100"}), "train.batch = 100 is no multiple of"));
  EXPECT_TRUE(contains(complaint(kRecipe, {"neighbors.pool=3"}), "neighbors.pool is 3"));
  EXPECT_TRUE(contains(complaint(kRecipe, {"train.accumulate=3"}), "train.accumulate = 3"));
  EXPECT_TRUE(contains(complaint(kRecipe, {"student.model=resnet5"}), "resnet"));
  EXPECT_TRUE(contains(complaint(kRecipe, {"method.name=cos"}), "coss"));
  EXPECT_TRUE(contains(complaint(kRecipe, {"data.augmentation=cifr"}), "cifar"));
  EXPECT_TRUE(contains(complaint(kRecipe, {"dtype=fp12"}), "dtype is 'fp12'; known: auto, fp32, bf16"));
  EXPECT_TRUE(contains(complaint(kRecipe, {"teacher.weights="}), "teacher.weights=FILE"));
  EXPECT_TRUE(contains(complaint("{}"), "data.path is empty"));
  EXPECT_TRUE(contains(complaint(kRecipe, {"neighbors.nearest=-1"}), "neighbors.nearest is -1"));
}

TEST(Config, RefusesHostileText) {
  const std::string deep(100000, '[');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[1]"), std::string("{\"seed\": 1} x"), deep, "{\"seed\":" + deep,
        std::string("{\"seed\": 1, \"seed\": 2}"), std::string("\x80\xff{}"), std::string("{\"seed\": 1e999}")})
    EXPECT_TRUE(contains(complaint(text), "recipe.json")) << text.substr(0, 40);
  EXPECT_THROW(load_config("/", {}), Error);
  EXPECT_THROW(load_config("no/such/file.json", {}), Error);
}

TEST(Config, PrintsWhatItReads) {
  const Config config = parse_config(kRecipe, "recipe.json", {"optimizer.weight_decay=0.0001"});
  const std::string text = to_json(config);
  EXPECT_TRUE(contains(text, "\"weight_decay\": 0.0001")) << text;
  const Config again = parse_config(text, "config.json", {});
  EXPECT_EQ(to_json(again), text);
  EXPECT_TRUE(differences(config, again).empty());
  EXPECT_TRUE(contains(config_help(), "schedule.hold_epochs = 0"));
}

TEST(Config, ViewsAreDescribedInOrderAndLeaveOutWhatIsUsual) {
  const Config plain = parse_config(kRecipe, "recipe.json", {});
  ASSERT_EQ(list_views(plain).size(), 1u);
  EXPECT_EQ(list_views(plain)[0].augmentation, "cifar");
  EXPECT_EQ(list_views(plain)[0].image_size, 32);

  Config config = parse_config(kRecipe, "recipe.json", {R"(data.views=[{"image_size": 64}])"});
  EXPECT_TRUE(contains(to_json(config), R"("views": [{"count":1,"image_size":64}])")) << to_json(config);
  EXPECT_EQ(to_json(parse_config(to_json(config), "config.json", {})), to_json(config));
  EXPECT_EQ(differences(plain, config).size(), 1u);

  config.data.views = {{"moco_v2", 0, 1}, {"patch", 96, 3}};
  const std::vector<ViewConfig> views = list_views(config);
  ASSERT_EQ(views.size(), 4u);
  EXPECT_EQ(views[0].augmentation, "moco_v2");
  EXPECT_EQ(views[0].image_size, 32);
  EXPECT_EQ(views[3].augmentation, "patch");
  EXPECT_EQ(views[3].image_size, 96);
}

TEST(Config, RefusesViewsThatCannotBe) {
  const auto refused = [](const char* views) { return complaint(kRecipe, {std::string("data.views=") + views}); };
  EXPECT_TRUE(contains(refused(R"({"count": 2})"), "data.views describes 2 views, and the method coss takes 1"));
  EXPECT_TRUE(contains(refused(R"({"count": 1e9})"), "data.views: count is 1000000000"));
  EXPECT_TRUE(contains(refused(R"({"count": -9223372036854775808})"), "at least 1"));
  EXPECT_TRUE(contains(refused(R"({"augmentation": "cifr"})"), "cifar"));
  EXPECT_TRUE(contains(refused(R"({"image_size": 4})"), "image_size is 4"));
  for (const char* views : {"3", "[[]]", R"({"size": 3})", R"({"count": "two"})", R"({"augmentation": 1})", "{"})
    EXPECT_TRUE(contains(refused(views), "data.views must be a list of views, each {\"augmentation\": name")) << views;
}

TEST(Config, KnowsWhetherTheNormalizationWasGiven) {
  const char* const bare =
      R"({"method": {"name": "supervised"}, "data": {"path": "x"}, "student": {"model": "resnet18"}})";
  const Config open = parse_config(bare, "recipe.json", {"data.mean=null"});
  EXPECT_FALSE(open.data.mean || open.data.stddev);
  EXPECT_TRUE(contains(to_json(open), "\"mean\": null"));
  const Config said = parse_config(bare, "recipe.json", {"data.stddev=0.2,0.2,0.2", "student.from=simclr-v1"});
  ASSERT_TRUE(said.data.stddev);
  EXPECT_FALSE(said.data.mean);
  const ResolvedRecipe recipe = resolve(said);
  EXPECT_EQ(recipe.normalization, (Normalization{{0.485f, 0.456f, 0.406f}, {0.2f, 0.2f, 0.2f}}));
  EXPECT_EQ(*recipe.config.data.mean, (Channels{0.485f, 0.456f, 0.406f}));
  EXPECT_FALSE(recipe.student || recipe.teacher);
  EXPECT_EQ(said.student.from, "simclr-v1");
  EXPECT_TRUE(contains(complaint("{\"teacher\": {\"from\": \"nobody\"}}"), "teacher.from is 'nobody'; known: auto"));
}

TEST(Config, DifferencesLeaveOutHowARunIsWatched) {
  const Config before = parse_config(kRecipe, "recipe.json", {});
  const Config after =
      parse_config(kRecipe, "recipe.json",
                   {"threads=3", "data.workers=9", "log.every_steps=1", "checkpoint.keep=9", "train.batch=512"});
  EXPECT_EQ(differences(before, after), (std::vector<std::string>{"train.batch: 256 -> 512"}));
}

// Keys of earlier versions, one by one and as a group, are answered with today's.
TEST(Config, NamesTheKeyThatAnOldSpellingBecame) {
  EXPECT_TRUE(contains(complaint(kRecipe, {"neighbours.nearest=3"}), "did you mean 'neighbors.nearest'"));
  EXPECT_TRUE(contains(complaint(R"({"neighbours": {"nearest": 3}})", {}), "did you mean 'neighbors'"));
}

// An option of a method has a type and bounds, and all that are wrong are said at once.
TEST(Config, OptionsOfAMethodHaveTypes) {
  const std::string crd = R"({"data": {"path": "images"}, "teacher": {"model": "resnet56_cifar", "weights": "t.pth"},
                              "student": {"model": "resnet20_cifar"}, "method": {"name": "crd"}})";
  for (const char* yes : {"method.relaxed=true", "method.relaxed=1"}) {
    const Config config = parse_config(crd, "recipe.json", {yes});
    EXPECT_EQ(config.method["relaxed"], 1);
    EXPECT_TRUE(contains(to_json(config), "\"relaxed\": true"));
    EXPECT_TRUE(differences(config, parse_config(to_json(config), "config.json", {})).empty());
  }
  EXPECT_EQ(parse_config(crd, "recipe.json", {"method.relaxed=false"}).method["relaxed"], 0);
  const std::string wrong = complaint(crd, {"method.relaxed=2", "method.dim=0", "method.negatives=2.5",
                                            "method.temperature=0", "method.momentum=1", "method.weight=-1"});
  for (const char* sentence :
       {"method.relaxed must be true or false, found 2", "method.dim must be a whole number of at least 1, found 0",
        "method.negatives must be a whole number of at least 1, found 2.5",
        "method.temperature must be a number above 0, found 0",
        "method.momentum must be a number of at least 0 and below 1, found 1",
        "method.weight must be a number of at least 0, found -1"})
    EXPECT_TRUE(contains(wrong, sentence)) << sentence << "\n" << wrong;
}

// The defaults are values that the options take.
TEST(Config, DefaultsOfOptionsAreWithinTheirBounds) {
  for (const MethodInfo& method : methods())
    for (const MethodOption& option : method.options) EXPECT_TRUE(option.takes(option.value)) << option.name;
}

// Every recipe that is handed out must be readable; paths that the user has to give are given here.
TEST(Config, ReadsEveryRecipe) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(COSS_GOLDENS) + "/../../recipes")) {
    if (entry.path().extension() != ".json") continue;
    ++count;
    EXPECT_NO_THROW(load_config(entry.path(), {"data.path=images", "teacher.weights=teacher.pth"})) << entry.path();
  }
  EXPECT_GE(count, 5);
}

}  // namespace
}  // namespace coss
