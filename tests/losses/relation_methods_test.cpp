// EGA as a method: who learns when, which options it refuses; embeddings of PKT, RKD and IRG; IRG's ways between
// stages.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/losses/toys.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

Toys toys_of(const char* name, const std::map<std::string, double>& changed) {
  const int64_t size = name == std::string("irg") ? 4 : 2;  // it compares maps
  return Toys(options_of(name, changed), {.width = 4, .teacher_width = 6, .batch = 5, .size = size});
}

double greatest(const Params& params) {
  double most = 0;
  for (const double g : const_cast<Params&>(params).weights().grad.to_doubles()) most = std::max(most, std::abs(g));
  return most;
}

TEST(RelationMethods, GradientsOfTheStudent) {
  const std::map<std::string, double> embedded{{"embedding", 3}};
  for (const auto& [name, values] : std::vector<std::pair<const char*, std::map<std::string, double>>>{
           {"sp", {}},
           {"irg", {}},
           {"irg", {{"maps", 0}, {"teacher_view", 1}}},
           {"irg", embedded},
           {"pkt", embedded},
           {"rkd", embedded},
           {"ega", embedded},
           {"ega", {{"embedding", 0}, {"label_weight", 0}, {"teacher_view", 0}}},
           {"ega", {{"embedding", 0}, {"classifier_on_embedding", 1}}}}) {
    Toys toys = toys_of(name, values);
    EXPECT_LT(toys.error_of_gradient(), 1e-9) << name;
  }
}

TEST(RelationMethods, TheTeachersEmbeddingLearnsBesideTheStudentOrBefore) {
  Toys both = toys_of("ega", {});
  EXPECT_EQ(both.method->learner(0), Learner::both);
  both.backward();
  EXPECT_GT(greatest(both.student_params), 0);
  EXPECT_GT(greatest(*both.method->companion()), 0);

  Toys before = toys_of("ega", {{"teacher_epochs", 2}});
  EXPECT_EQ(before.method->learner(19), Learner::companion);
  EXPECT_EQ(before.method->learner(20), Learner::student);
  for (const Learner learner : {Learner::companion, Learner::student}) {
    Toys toys = toys_of("ega", {{"teacher_epochs", 2}});
    toys.method->learn(learner);
    const LossTerms terms = toys.method->forward(toys.inputs);
    EXPECT_EQ(terms.values.shape(), Shape{int64_t(toys.method->term_names().size())});
    toys.backward();
    EXPECT_EQ(greatest(toys.student_params) > 0, learner == Learner::student);
    EXPECT_EQ(greatest(*toys.method->companion()) > 0, learner == Learner::companion);
  }
}

TEST(RelationMethods, WithoutLabelsNoEmbeddingOfTheTeacher) {
  EXPECT_THROW(toys_of("ega", {{"label_weight", 0}}), Error);
  EXPECT_THROW(toys_of("ega", {{"embedding", 0}, {"teacher_epochs", 1}}), Error);
  EXPECT_THROW(toys_of("pkt", {{"embedding", 8}, {"label_weight", 0}}), Error);
  Toys toys = toys_of("ega", {{"label_weight", 0}, {"embedding", 0}});
  EXPECT_EQ(toys.method->companion(), nullptr);
  EXPECT_EQ(toys.method->term_names().size(), 3u);
}

}  // namespace
}  // namespace coss::test
