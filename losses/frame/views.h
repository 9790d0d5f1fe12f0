// Views: how many of each image a method takes, and several of them as one batch.
#pragma once
#include <vector>

#include "losses/method.h"

namespace coss {

// For MethodInfo::views.
inline int64_t two_views(const MethodOptions&) { return 2; }
// Two views where the option teacher_view is on: the teacher then sees the last of StepInputs::views.
inline int64_t teachers_view(const MethodOptions& options) { return options["teacher_view"] != 0 ? 2 : 1; }
inline void list_teacher_view(OptionList& row, bool& teacher_view) {
  row.flag("teacher_view", teacher_view, "the teacher sees a view of its own, the second; else the student's");
}

// The images of views[first] and of those after it, one view below the other; throws Error unless all have one size.
Tensor stacked_views(const std::vector<Tensor>& views, size_t first = 0);

}  // namespace coss
