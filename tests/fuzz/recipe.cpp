// Fuzz target: recipes, and overrides on the command line.
#include "training/recipe.h"

#include "tests/fuzz/fuzz.h"

void coss::test::fuzz_one(const std::vector<uint8_t>& bytes) {
  const std::string text(bytes.begin(), bytes.end()), name = "recipe";
  reads_or_refuses(name, [&] { to_json(parse_config(text, name, {})); });
  reads_or_refuses("", [&] { parse_config("{}", name, {text.substr(0, 200)}); });
}
