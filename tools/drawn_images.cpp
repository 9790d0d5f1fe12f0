// Each pixel is the mean of four samples of an analytic picture: a background texture, a shape filled with the texture
// of its class, bars in front of it, noise. Color, place, size, angle and texture frequency are random and say nothing
// about the class, so the classes cannot be told apart by single pixels.
#include "tools/drawn_images.h"

#include <fmt/format.h>
#include <jpeglib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>

#include "engine/check.h"
#include "engine/philox.h"
#include "formats/outputs.h"

namespace coss {

namespace {

namespace fs = std::filesystem;
constexpr float kPi = 3.14159265f;

struct Point {
  float x = 0, y = 0;
};
struct Color {
  float r = 0, g = 0, b = 0;
};

Point rotate(Point p, float angle) {
  const float c = std::cos(angle), s = std::sin(angle);
  return {c * p.x - s * p.y, s * p.x + c * p.y};
}
Color mix(Color a, Color b, float t) { return {a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t}; }
float length(Point p) { return std::sqrt(p.x * p.x + p.y * p.y); }
float fraction(float x) { return x - std::floor(x); }

// --- shapes: is a point of the plane inside? Each fills about the unit circle. -----------------------------------

// Inside a convex polygon with `sides` corners on the unit circle.
bool in_polygon(Point p, int sides) {
  const float sector = 2 * kPi / float(sides);
  const float angle = std::atan2(p.y, p.x);
  const float across = angle - sector * std::floor(angle / sector + 0.5f);
  return length(p) * std::cos(across) < std::cos(sector / 2);
}

bool in_star(Point p) {
  const float wave = std::cos(5 * std::atan2(p.y, p.x));
  return length(p) < 0.62f + 0.38f * wave;
}

struct ShapeKind {
  const char* name;
  bool (*inside)(Point);
};

constexpr std::array<ShapeKind, 10> kShapes = {{
    {"disc", [](Point p) { return length(p) < 0.85f; }},
    {"ring", [](Point p) { return length(p) < 1 && length(p) > 0.55f; }},
    {"square", [](Point p) { return std::max(std::abs(p.x), std::abs(p.y)) < 0.75f; }},
    {"triangle", [](Point p) { return in_polygon(p, 3); }},
    {"cross",
     [](Point p) {
       return std::min(std::abs(p.x), std::abs(p.y)) < 0.3f && std::max(std::abs(p.x), std::abs(p.y)) < 0.95f;
     }},
    {"star", [](Point p) { return in_star(p); }},
    {"crescent",
     [](Point p) {
       return length(p) < 0.95f && length({p.x - 0.45f, p.y}) > 0.75f;
     }},
    {"bar", [](Point p) { return std::abs(p.x) < 1.05f && std::abs(p.y) < 0.35f; }},
    {"bow", [](Point p) { return std::abs(p.y) < 0.15f + 0.65f * std::abs(p.x) && std::abs(p.x) < 0.95f; }},
    {"frame",
     [](Point p) {
       const float side = std::max(std::abs(p.x), std::abs(p.y));
       return side < 0.85f && side > 0.45f;
     }},
}};

// --- textures: brightness in [0, 1]; one period per unit. --------------------------------------------------------

// A fixed random number in [0, 1) for each cell of the plane.
float cell_noise(float x, float y) {
  const auto column = static_cast<uint32_t>(static_cast<int32_t>(std::floor(x)));
  const auto row = static_cast<uint32_t>(static_cast<int32_t>(std::floor(y)));
  return philox_uniform(philox(column, row).word[0]);
}

float blotches(Point p) {
  const float fx = fraction(p.x), fy = fraction(p.y), sx = fx * fx * (3 - 2 * fx), sy = fy * fy * (3 - 2 * fy);
  const float top = cell_noise(p.x, p.y) * (1 - sx) + cell_noise(p.x + 1, p.y) * sx;
  const float bottom = cell_noise(p.x, p.y + 1) * (1 - sx) + cell_noise(p.x + 1, p.y + 1) * sx;
  return top * (1 - sy) + bottom * sy;
}

struct TextureKind {
  const char* name;
  float (*brightness)(Point);
};

constexpr std::array<TextureKind, 10> kTextures = {{
    {"stripes", [](Point p) { return fraction(p.x) < 0.5f ? 0.f : 1.f; }},
    {"dots",
     [](Point p) {
       return length({fraction(p.x) - 0.5f, fraction(p.y) - 0.5f}) < 0.3f ? 1.f : 0.f;
     }},
    {"checks", [](Point p) { return (fraction(p.x) < 0.5f) == (fraction(p.y) < 0.5f) ? 0.f : 1.f; }},
    {"plain", [](Point) { return 0.8f; }},
    {"waves", [](Point p) { return 0.5f + 0.5f * std::sin(2 * kPi * (p.x + 0.3f * std::sin(2 * kPi * p.y))); }},
    {"grid", [](Point p) { return fraction(p.x) < 0.2f || fraction(p.y) < 0.2f ? 1.f : 0.f; }},
    {"blotches", blotches},
    {"mosaic", [](Point p) { return cell_noise(2 * p.x, 2 * p.y); }},
    {"rings", [](Point p) { return fraction(length(p)) < 0.5f ? 0.f : 1.f; }},
    {"zigzag", [](Point p) { return fraction(p.x + std::abs(fraction(p.y) - 0.5f)) < 0.4f ? 0.f : 1.f; }},
}};

size_t shape_of(int label) { return size_t(label) % kShapes.size(); }
// Labels from 10 on pair the shapes with other textures.
size_t texture_of(int label) { return (size_t(label) + size_t(label) / kShapes.size()) % kTextures.size(); }

// --- one picture -------------------------------------------------------------------------------------------------

Color random_color(RandomStream& random) { return {random.uniform(), random.uniform(), random.uniform()}; }

// A texture in two colors, placed and turned at random.
struct Paint {
  size_t texture;
  float frequency, angle;
  Point shift;
  Color dark, light;

  Paint(RandomStream& random, size_t kind, float least_contrast)
      : texture(kind), frequency(random.uniform(1.0f, 1.7f)), angle(random.uniform(0, 2 * kPi)) {
    shift = {random.uniform(-20, 20), random.uniform(-20, 20)};
    if (kTextures[kind].brightness == kTextures[8].brightness) shift = {};  // rings around the middle
    dark = random_color(random);
    do {
      light = random_color(random);
    } while (std::abs(light.r - dark.r) + std::abs(light.g - dark.g) + std::abs(light.b - dark.b) < least_contrast);
  }
  Color at(Point p) const {
    const Point turned = rotate({p.x * frequency, p.y * frequency}, angle);
    return mix(dark, light, kTextures[texture].brightness({turned.x + shift.x, turned.y + shift.y}));
  }
};

struct Bar {
  Point middle;
  float angle, half_length, half_width;
  Color color;

  explicit Bar(RandomStream& random)
      : middle{random.uniform(-1, 1), random.uniform(-1, 1)},
        angle(random.uniform(0, kPi)),
        half_length(random.uniform(0.2f, 0.6f)),
        half_width(random.uniform(0.02f, 0.08f)),
        color(random_color(random)) {}
  bool covers(Point p) const {
    const Point q = rotate({p.x - middle.x, p.y - middle.y}, -angle);
    return std::abs(q.x) < half_length && std::abs(q.y) < half_width;
  }
};

}  // namespace

std::string drawn_class_name(int label) {
  return fmt::format("{}_{}", kShapes[shape_of(label)].name, kTextures[texture_of(label)].name);
}

std::vector<uint8_t> draw_image(int label, int size, uint64_t seed, uint64_t index) {
  RandomStream random(seed, RandomUse::draw, uint64_t(label), index);
  // The picture is the square [-1, 1] x [-1, 1].
  const Point center{random.uniform(-0.3f, 0.3f), random.uniform(-0.3f, 0.3f)};
  const float radius = random.uniform(0.6f, 0.9f), angle = random.uniform(-0.7f, 0.7f);
  const Paint paint(random, texture_of(label), 1.0f);
  const Paint ground(random, random.below(uint32_t(kTextures.size())), 0.2f);
  const Color veil = random_color(random);
  std::vector<Bar> bars;
  for (uint32_t i = random.below(3); i > 0; --i) bars.emplace_back(random);
  const float grain = random.uniform(0.01f, 0.04f), light = random.uniform(0.7f, 1.1f);

  const auto sample = [&](Point p) {
    for (const Bar& bar : bars)
      if (bar.covers(p)) return bar.color;
    const Point q = rotate({(p.x - center.x) / radius, (p.y - center.y) / radius}, -angle);
    if (kShapes[shape_of(label)].inside(q)) return paint.at(q);
    return mix(ground.at(p), veil, 0.75f);  // paler than the shape
  };

  std::vector<uint8_t> pixels;
  pixels.reserve(size_t(size) * size_t(size) * 3);
  const float step = 2 / float(size);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      Color sum;
      for (const Point offset : {Point{0.25f, 0.25f}, Point{0.75f, 0.25f}, Point{0.25f, 0.75f}, Point{0.75f, 0.75f}}) {
        const Color c = sample({(float(x) + offset.x) * step - 1, (float(y) + offset.y) * step - 1});
        sum = {sum.r + c.r / 4, sum.g + c.g / 4, sum.b + c.b / 4};
      }
      for (const float channel : {sum.r, sum.g, sum.b}) {
        const float value = 255 * (light * channel + grain * random.normal());
        pixels.push_back(uint8_t(std::clamp(value, 0.f, 255.f)));
      }
    }
  }
  return pixels;
}

namespace {

// libjpeg reports a failure by calling a function that must not return.
struct JpegFailure {
  jpeg_error_mgr manager;
  std::jmp_buf back;
};
void jump_back(j_common_ptr jpeg) { std::longjmp(reinterpret_cast<JpegFailure*>(jpeg->err)->back, 1); }

// There is no object with a destructor here, since longjmp would skip it. Returns false on failure; `data` must be
// given to free().
bool compress(const uint8_t* pixels, int size, int quality, unsigned char** data, unsigned long* bytes) {
  jpeg_compress_struct jpeg;
  JpegFailure failure;
  jpeg.err = jpeg_std_error(&failure.manager);
  failure.manager.error_exit = jump_back;
  if (setjmp(failure.back)) {
    jpeg_destroy_compress(&jpeg);
    return false;
  }
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, data, bytes);
  jpeg.image_width = jpeg.image_height = JDIMENSION(size);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row = const_cast<JSAMPROW>(pixels + size_t(jpeg.next_scanline) * size_t(size) * 3);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  return true;
}

void write_images(const fs::path& folder, const DrawOptions& options, int label, int count, uint64_t first_index) {
  fs::create_directories(folder);
  for (int i = 0; i < count; ++i) {
    const uint64_t index = first_index + uint64_t(i);
    const std::vector<uint8_t> jpeg =
        encode_jpeg(draw_image(label, options.size, options.seed, index), options.size, 75 + int(index % 20));
    const fs::path path = folder / fmt::format("{:05}.jpg", i);
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(jpeg.data()), std::streamsize(jpeg.size()));
    file.close();
    COSS_CHECK(file.good(), fmt::format("cannot write {}", path.string()));
  }
}

// True for names below `target` that draw_folder writes: "train", "train/star_dots", "train/star_dots/00001.jpg".
bool is_drawn(const fs::path& relative, bool folder) {
  const std::vector<fs::path> parts(relative.begin(), relative.end());
  const std::string file = relative.filename();
  static const std::set<std::string> classes = [] {
    std::set<std::string> names;
    for (int label = 0; label < kMostDrawnClasses; ++label) names.insert(drawn_class_name(label));
    return names;
  }();
  if (parts[0] != "train" && parts[0] != "val") return false;
  if (parts.size() > 1 && !classes.contains(parts[1])) return false;
  if (parts.size() < 3) return folder;
  return parts.size() == 3 && !folder && file.size() >= 9 && file.ends_with(".jpg") &&
         file.find_first_not_of("0123456789") == file.size() - 4;
}

// Throws Error if something is there that must not be replaced.
void check_target(const fs::path& target, bool force) {
  std::error_code ignored;
  const fs::file_status status = fs::symlink_status(target, ignored);
  if (!fs::exists(status) || (fs::is_directory(status) && fs::is_empty(target, ignored))) return;
  COSS_CHECK(fs::is_directory(status), target.string() + " is there already and is no folder: choose another --out");
  COSS_CHECK(force, target.string() + " is there already: choose another --out, or replace it with --force");
  for (const auto& entry : fs::recursive_directory_iterator(target)) {
    const bool drawn = is_drawn(entry.path().lexically_relative(target), entry.is_directory() && !entry.is_symlink());
    COSS_CHECK(drawn, fmt::format("{} holds {}, which coss draw does not write: choose another --out, or remove it",
                                  target.string(), entry.path().string()));
  }
}

}  // namespace

std::vector<uint8_t> encode_jpeg(const std::vector<uint8_t>& pixels, int size, int quality) {
  COSS_ASSERT(pixels.size() == size_t(size) * size_t(size) * 3);
  unsigned char* data = nullptr;
  unsigned long bytes = 0;
  const bool done = compress(pixels.data(), size, quality, &data, &bytes);
  std::vector<uint8_t> file;
  if (done) file.assign(data, data + bytes);
  std::free(data);
  COSS_CHECK(done, "cannot encode a JPEG image");
  return file;
}

void draw_folder(const DrawOptions& options, const std::string& out, bool force) {
  COSS_CHECK(options.classes >= 2 && options.classes <= kMostDrawnClasses,
             fmt::format("{} classes cannot be drawn: choose 2 to {}", options.classes, kMostDrawnClasses));
  COSS_CHECK(options.size >= 16 && options.size <= 1024,
             fmt::format("images of {} pixels cannot be drawn: choose 16 to 1024", options.size));
  COSS_CHECK(options.per_class >= 1 && options.test_per_class >= 0, "there must be at least one image per class");
  fs::path target = fs::path(out).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();  // "images/"
  std::error_code error;
  check_target(target, force);
  const fs::path aside = fmt::format("{}.tmp-{}", target.string(), getpid()), old = aside.string() + "-old";
  std::vector<fs::path> made;
  const auto undo = [&] {
    fs::remove_all(aside, error);
    if (!fs::exists(target, error)) fs::rename(old, target, error);
    remove_empty_folders(made);
  };
  try {
    made = make_folders(fs::absolute(target).parent_path());
    for (int label = 0; label < options.classes; ++label) {
      const std::string name = drawn_class_name(label);
      write_images(aside / "train" / name, options, label, options.per_class, 0);
      // The numbers of test images follow those of training images, so no image is in both.
      if (options.test_per_class > 0)
        write_images(aside / "val" / name, options, label, options.test_per_class, uint64_t(options.per_class));
    }
    if (fs::exists(target) && !fs::is_empty(target)) fs::rename(target, old);
    fs::rename(aside, target);
    fs::remove_all(old);
  } catch (const fs::filesystem_error& failure) {
    undo();
    throw Error(fmt::format("cannot write {}: {}", target.string(), failure.code().message()));
  } catch (...) {
    undo();
    throw;
  }
}

}  // namespace coss
