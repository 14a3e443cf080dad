#include <algorithm>
#include <memory>
#include <sstream>

#include "tweedie/cli/commands.h"
#include "tweedie/cli/common.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/jobs/recipes.h"

namespace tweedie {
namespace {

struct Listed {
  std::string name, summary, options;
  Json facts = Json::object();  // what else the JSON says
};

template <class T>
std::vector<Listed> listed(const std::map<std::string, Entry<T>>& entries) {
  std::vector<Listed> out;
  for (const auto& [name, entry] : entries) out.push_back({name, entry.summary, entry.options});
  return out;
}

std::vector<Listed> listed_samplers(const std::map<std::string, SamplerEntry>& entries) {
  std::vector<Listed> out;
  for (const auto& [name, entry] : entries) {
    const SamplerFacts& facts = entry.facts;
    const std::string kind = facts.stochastic ? "stochastic" : "deterministic";
    const std::string line = facts.order.empty()
                                 ? ""
                                 : "order " + facts.order + ", " + facts.evaluations.words() +
                                       " evaluations, " + kind + "; " + facts.when + "\n";
    out.push_back({name,
                   entry.summary,
                   line + entry.options,
                   {{"order", facts.order},
                    {"evaluations", facts.evaluations.words()},
                    {"stochastic", facts.stochastic},
                    {"when", facts.when},
                    {"path", facts.path}}});
  }
  return out;
}

/// A recipe's summary is the comment it begins with.
std::vector<Listed> listed_recipes() {
  std::vector<Listed> out;
  for (const auto& [name, text] : builtin_recipes()) {
    const size_t start = text.find_first_not_of("# \n"), end = text.find('\n', start);
    out.push_back({name, start == std::string::npos ? "" : text.substr(start, end - start), ""});
  }
  return out;
}

std::vector<Listed> listed_kernels() {
  std::vector<Listed> out;
  for (const KernelTable& table : kernel_tables())
    out.push_back({table.name,
                   table.summary + (table.in_use ? " (in use)" : ""),
                   "",
                   {{"in_use", table.in_use}}});
  return out;
}

std::vector<Listed> entries_of(const std::string& kind, const Registry& registry) {
  if (kind == "samplers") return listed_samplers(registry.samplers);
  if (kind == "schedules") return listed(registry.schedules);
  if (kind == "networks") return listed(registry.networks);
  if (kind == "datasets") return listed(registry.datasets);
  if (kind == "parameterisations") return listed(registry.parameterisations);
  if (kind == "objectives") return listed(registry.objectives);
  if (kind == "recipes") return listed_recipes();
  if (kind == "kernels") return listed_kernels();
  throw Error("list: unknown kind '" + kind + "'" +
              suggestion(kind, {"samplers", "schedules", "networks", "datasets",
                                "parameterisations", "objectives", "recipes", "kernels"}));
}

int run_list(const std::string& kind, const std::string& json, const Registry& registry) {
  const std::vector<Listed> entries = entries_of(kind, registry);
  Json record = {{kind, Json::array()}};
  size_t width = 0;
  for (const Listed& entry : entries) width = std::max(width, entry.name.size());
  for (const Listed& entry : entries) {
    record[kind].push_back(
        {{"name", entry.name}, {"summary", entry.summary}, {"options", entry.options}});
    record[kind].back().update(entry.facts);
    say_result(json, entry.name + std::string(width + 2 - entry.name.size(), ' ') + entry.summary);
    std::istringstream lines(entry.options);
    for (std::string line; std::getline(lines, line);) {
      const size_t start = line.find_first_not_of(' ');
      if (start != std::string::npos) say_result(json, "    " + line.substr(start));
    }
  }
  write_json(json, record);
  return 0;
}

}  // namespace

void add_list(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("list", "What there is to choose from");
  const auto kind = std::make_shared<std::string>(), json = std::make_shared<std::string>();
  command
      ->add_option(
          "KIND", *kind,
          "samplers, schedules, networks, datasets, parameterisations, objectives, recipes or "
          "kernels (that this CPU runs; TWEEDIE_KERNELS=NAME forces one)")
      ->required();
  command->add_option("--json", *json, "file for the list as JSON, - for standard output");
  command->callback(
      [=, &cli] { cli.action = [=, &cli] { return run_list(*kind, *json, cli.registry); }; });
}

}  // namespace tweedie
