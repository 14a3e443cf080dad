// tweedie data.
#include <memory>

#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/cli/numbers.h"
#include "tweedie/jobs/describe.h"
#include "tweedie/jobs/describe_data.h"
#include "tweedie/tensor/image.h"

namespace tweedie {
namespace {

struct DataOptions {
  std::string spec, split = "train", grid, out, json;
  bool describe = false;
  int64_t count = 0;
};

constexpr const char* kDefaultGrid = "tweedie-examples.png";

int run_data(DataOptions& options, const Registry& registry) {
  if (options.describe && options.grid.empty()) options.grid = kDefaultGrid;
  for (const auto& [name, ending] : {std::pair{options.grid, ".png"}, {options.out, ".npz"}}) {
    if (name.empty()) continue;
    check(name.ends_with(ending), name, ": the name must end in ", ending);
    require_writable(name);
  }
  const Dataset data = open_dataset(registry, options.spec, options.split);
  if (options.describe || (options.grid.empty() && options.out.empty())) {
    const Json said = describe_data(data, options.count);
    write_json(options.json, said);
    say_result(options.json, describe_in_words(said));
  }
  if (!options.grid.empty()) {
    write_png(options.grid, examples_picture(data));
    say_result(options.json, options.grid + ": examples as a picture");
  }
  if (!options.out.empty()) {
    write_arrays(data, options.count, options.out);
    say_result(options.json, options.out);
  }
  return 0;
}

}  // namespace

void add_data(CLI::App& app, Cli& cli) {
  CLI::App* command =
      app.add_subcommand("data", "Look at data before training on them, or turn them into arrays");
  const auto options = std::make_shared<DataOptions>();
  command->add_option("SPEC", options->spec, "tweedie list datasets")->required();
  command->add_flag("--describe", options->describe,
                    "shape, levels, range, classes, and a picture of examples; without options: in "
                    "words alone");
  command->add_option("--split", options->split, "train or test");
  command
      ->add_option("-n,--count", options->count, "of examples looked at or written; default: all")
      ->check(positive());
  command->add_option(
      "--grid", options->grid,
      ".png of examples spread over the data; with --describe tweedie-examples.png if not "
      "given");
  command->add_option("--out", options->out, ".npz with arrays x and labels");
  command->add_option("--json", options->json, "file for the description, - for standard output");
  command->callback(
      [=, &cli] { cli.action = [options, &cli] { return run_data(*options, cli.registry); }; });
}

}  // namespace tweedie
