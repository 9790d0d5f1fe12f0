// A run on the dry device, matching, pooling.
#include "losses/frame/stages.h"

#include <algorithm>

#include "autograd/ops.h"

namespace coss {

std::vector<Shape> stage_shapes(const std::function<std::unique_ptr<Network>(const Scope&)>& twin, int64_t image_size) {
  COSS_ASSERT(twin);
  Params params;
  const auto network = twin(Scope(params));
  params.allocate(Device::dry, DType::f32, /*seed=*/0, /*frozen=*/true);
  const NoGrad guard;
  std::vector<Var> stages;
  network->features(Var(Tensor({1, image_size, image_size, 3}, DType::f32, Device::dry)), Mode::eval, {}, &stages);
  std::vector<Shape> shapes;
  for (const Var& stage : stages) shapes.push_back(stage.shape());
  return shapes;
}

bool sizes_fit(const Shape& student, const Shape& teacher) {
  if (student.rank != 4 || teacher.rank != 4) return false;
  const int64_t height = std::max(student[1], teacher[1]), smaller = std::min(student[1], teacher[1]);
  if (smaller == 0 || height % smaller != 0) return false;
  const int64_t ratio = height / smaller;
  return student[1] >= teacher[1] ? student[2] == ratio * teacher[2] : teacher[2] == ratio * student[2];
}

std::vector<std::pair<size_t, size_t>> matching_stages(const char* method, const std::vector<Shape>& student,
                                                       const std::vector<Shape>& teacher) {
  std::vector<std::pair<size_t, size_t>> pairs;
  for (size_t back = std::min(student.size(), teacher.size()); back > 0; --back) {
    const size_t s = student.size() - back, t = teacher.size() - back;
    if (sizes_fit(student[s], teacher[t])) pairs.emplace_back(s, t);
  }
  const auto list = [](const std::vector<Shape>& shapes) {
    std::string text;
    for (const Shape& shape : shapes) text += (text.empty() ? "" : ", ") + shape.str();
    return text.empty() ? std::string("none") : text;
  };
  COSS_CHECK(!pairs.empty(), std::string("the method ") + method +
                                 " compares feature maps, and none of the student's (" + list(student) +
                                 ") is as large as the teacher's (" + list(teacher) + ") or a whole multiple of it");
  return pairs;
}

MapPair of_one_size(const Var& student, const Var& teacher) {
  const int64_t of_student = student.shape()[1], of_teacher = teacher.shape()[1];
  const auto smaller = [](const Var& x, int64_t ratio) {
    return ratio <= 1 ? widened(x) : widened(avg_pool({.window = ratio, .stride = ratio, .pad = 0}, x));
  };
  return {smaller(student, of_student / of_teacher), smaller(teacher, of_teacher / of_student)};
}

void check_same_places(const char* loss, const Tensor& student, const Tensor& teacher) {
  const Shape &s = student.shape(), &t = teacher.shape();
  COSS_CHECK(s.rank == 4 && t.rank == 4 && s[0] == t[0] && s[1] == t[1] && s[2] == t[2],
             std::string("[") + loss + "] the student's map is " + s.str() + ", the teacher's " + t.str());
  COSS_CHECK(student.dtype() == teacher.dtype(), std::string("[") + loss + "] the student's map is " +
                                                     name_of(student.dtype()) + ", the teacher's " +
                                                     name_of(teacher.dtype()));
}

}  // namespace coss
