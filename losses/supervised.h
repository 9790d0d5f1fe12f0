// Supervised training of the student alone: cross-entropy with the labels.
#pragma once
#include "losses/method.h"

namespace coss {

MethodInfo supervised_method();

}  // namespace coss
