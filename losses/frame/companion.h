// Options of layers on the teacher's side that learn beside the student (Method::companion). The trainer reads them: it
// makes their optimizer.
#pragma once
#include <string>

#include "losses/options.h"

namespace coss {

struct CompanionOptions {
  double rate = 0.01, decay = 5e-4;

  // `which` says in the help what learns; `when` stands before it.
  void list(OptionList& row, const std::string& which, const std::string& when = "") {
    row.number("companion_rate", rate, when + "learning rate of " + which + ", constant");
    row.number("companion_decay", decay, when + "weight decay of " + which);
  }
};

}  // namespace coss
