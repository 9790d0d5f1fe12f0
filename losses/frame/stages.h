// Feature maps of student and teacher: which stages belong together, and how they come to one size.
#pragma once
#include <utility>
#include <vector>

#include "losses/method.h"

namespace coss {

// Shapes of what the stages of a network give for one image of this size, (1,H,W,C). `twin` makes another network like
// it (MethodParts::twin, teacher_twin) for the dry device, since the network's own parameters have no memory yet.
std::vector<Shape> stage_shapes(const std::function<std::unique_ptr<Network>(const Scope&)>& twin, int64_t image_size);

// Whether both shapes are maps, and one is as large as the other or a whole multiple of it in height and width.
bool sizes_fit(const Shape& student, const Shape& teacher);
// Pairs of stages that belong together: the last ones of both networks, the last but one, and so on, in rising order.
// Pairs whose sizes do not fit are left out. Throws Error, naming all sizes, when none is left.
std::vector<std::pair<size_t, size_t>> matching_stages(const char* method, const std::vector<Shape>& student,
                                                       const std::vector<Shape>& teacher);

// Two maps, the larger of them averaged down to the size of the smaller; f32 where they were f16.
struct MapPair {
  Var student, teacher;
};
MapPair of_one_size(const Var& student, const Var& teacher);

// Throws Error unless both are maps of the same images and positions, of one dtype; the channels may differ.
void check_same_places(const char* loss, const Tensor& student, const Tensor& teacher);

}  // namespace coss
