// The commands: each declares its options on the app and what is to be done with them.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

#include "tweedie/registry.h"

namespace tweedie {

struct Cli {
  const Registry& registry;
  std::function<int()> action;  // of the command that was given; returns the exit status
  bool computes = false;        // long enough to care how threads wait for each other
};

// Each must outlive the parsing: the options live in what `action` captures.
void add_train(CLI::App& app, Cli& cli);
void add_sample(CLI::App& app, Cli& cli);
void add_compare_samplers(CLI::App& app, Cli& cli);
void add_evaluate(CLI::App& app, Cli& cli);
void add_metrics(CLI::App& app, Cli& cli);
void add_baselines(CLI::App& app, Cli& cli);
void add_diffuse(CLI::App& app, Cli& cli);
void add_describe(CLI::App& app, Cli& cli);
void add_report(CLI::App& app, Cli& cli);
void add_list(CLI::App& app, Cli& cli);
void add_bench(CLI::App& app, Cli& cli);
void add_data(CLI::App& app, Cli& cli);
void add_import(CLI::App& app, Cli& cli);
void add_export(CLI::App& app, Cli& cli);

}  // namespace tweedie
