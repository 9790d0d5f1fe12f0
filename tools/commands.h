// The sub-commands of the program. Each function adds one with its options, and a callback that runs it.
#pragma once

namespace CLI {
class App;
}

namespace coss {

void add_train(CLI::App& program);
void add_eval(CLI::App& program);
void add_embed(CLI::App& program);
void add_mine(CLI::App& program);
void add_models(CLI::App& program);
void add_methods(CLI::App& program);
void add_inspect(CLI::App& program);
void add_convert(CLI::App& program);
void add_draw(CLI::App& program);
void add_bench(CLI::App& program);
void add_bench_load(CLI::App& bench);
void add_bench_data(CLI::App& bench);
void add_bench_mining(CLI::App& bench);
void add_bench_losses(CLI::App& bench);
void add_doctor(CLI::App& program);

// In the order of 'coss --help'.
inline constexpr void (*kCommands[])(CLI::App& program) = {add_train,  add_eval,    add_embed,   add_mine,
                                                           add_models, add_methods, add_inspect, add_convert,
                                                           add_draw,   add_bench,   add_doctor};

}  // namespace coss
