// The table of methods.
#include "engine/text.h"
#include "losses/coss.h"
#include "losses/supervised.h"

namespace coss {

const std::vector<MethodInfo>& methods() {
  static const std::vector<MethodInfo> table{
      {"coss", "Singh and Wang, Simple Unsupervised Knowledge Distillation With Space Similarity, ECCV 2024",
       /*needs_teacher=*/true, /*needs_labels=*/false,
       [](const MethodOptions& options, const Scope& scope, Network& student, Network* teacher) {
         COSS_CHECK(teacher, "the method coss needs a teacher: set teacher.model and teacher.weights");
         return std::make_unique<CossMethod>(options, scope, student, *teacher);
       }},
      {"supervised", "cross-entropy with labels, no teacher", /*needs_teacher=*/false, /*needs_labels=*/true,
       [](const MethodOptions&, const Scope&, Network& student, Network*) {
         COSS_CHECK(student.classes > 0, "the method supervised needs a student with a classifier");
         return std::make_unique<SupervisedMethod>(student);
       }},
  };
  return table;
}

const MethodInfo& find_method(const std::string& name) {
  std::vector<std::string> known;
  for (const MethodInfo& method : methods()) {
    if (name == method.name) return method;
    known.push_back(method.name);
  }
  throw Error(unknown_name("method", name, known));
}

}  // namespace coss
