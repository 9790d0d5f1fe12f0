// `coss draw`: writes a small image set to try coss with.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "formats/outputs.h"
#include "tools/command.h"
#include "tools/commands.h"
#include "tools/drawn_images.h"

namespace coss {

namespace {

struct DrawCommand {
  CommonOptions common;
  DrawOptions draw;
  std::string out;
  bool force = false;
};

void run_draw(const DrawCommand& options) {
  draw_folder(options.draw, options.out, options.force);
  const int train = options.draw.classes * options.draw.per_class;
  const int test = options.draw.classes * options.draw.test_per_class;
  if (options.common.json) {
    const nlohmann::ordered_json json{
        {"out", options.out}, {"classes", options.draw.classes}, {"train", train}, {"test", test}};
    fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    fmt::print("{}: {} training and {} test images of {} classes\n", options.out, train, test, options.draw.classes);
  }
}

}  // namespace

void add_draw(CLI::App& program) {
  auto options = std::make_shared<DrawCommand>();
  DrawOptions& draw = options->draw;
  CLI::App* command = program.add_subcommand("draw", "draw a small labeled image set: textured shapes as JPEG files");
  command->add_option("--out", options->out, "the folder to make, with train/ and val/")->required();
  add_force(*command, options->force);
  command->add_option("--classes", draw.classes, "classes")
      ->check(CLI::Range(2, kMostDrawnClasses))
      ->capture_default_str();
  command->add_option("--per-class", draw.per_class, "training images of each class")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_option("--test-per-class", draw.test_per_class, "test images of each class")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  command->add_option("--size", draw.size, "height and width in pixels")
      ->check(CLI::Range(16, 1024))
      ->capture_default_str();
  command->add_option("--seed", draw.seed, "seed of everything random")->capture_default_str();
  add_json(*command, options->common);
  add_example(*command, "coss draw --out images --classes 10 --per-class 120");
  command->callback([options] { run_draw(*options); });
}

}  // namespace coss
