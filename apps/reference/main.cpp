// tweedie-reference: checks the library against numbers that other systems' own code computed.
#include <cstdio>
#include <iostream>
#include <map>
#include <set>

#include <CLI/CLI.hpp>

#include "groups.h"
#include "tweedie/base/error.h"
#include "tweedie/base/fields.h"

namespace {

using namespace tweedie;
using namespace tweedie::reference;

Plan plan_of(const Json& row) {
  static const std::map<std::string, Plan (*)(const Json&)> groups = {{"A", plan_schedules},
                                                                      {"B", plan_forward},
                                                                      {"C", plan_samplers},
                                                                      {"D", plan_losses},
                                                                      {"E", plan_networks}};
  const std::string group = row["group"];
  const auto found = groups.find(group);
  return found == groups.end() ? Plan{{}, "group " + group + " is unknown"} : found->second(row);
}

struct Tally {
  int64_t passed = 0, failed = 0, skipped = 0;
  std::map<std::string, std::vector<std::string>> skips,
      compatibilities;  // reason or option -> cases
};

void run_case(const Pack& pack, const Json& row, bool verbose, Tally& tally) {
  const std::string id = row["id"];
  std::vector<std::string> faults;
  int64_t comparisons = 0;
  try {
    const Plan plan = plan_of(row);
    if (!plan.run) {
      ++tally.skipped;
      tally.skips[plan.reason].push_back(id);
      return;
    }
    const Case the_case = pack.load(row);
    Checker checker(the_case);
    plan.run(the_case, checker);
    faults = checker.faults();
    comparisons = checker.comparisons();
    for (const std::string& option : checker.compatibilities())
      tally.compatibilities[option].push_back(id);
    if (comparisons == 0) faults.push_back("nothing was compared");
  } catch (const std::exception& error) {  // a case that cannot be run has failed; the others go on
    faults.push_back(error.what());
  }
  ++(faults.empty() ? tally.passed : tally.failed);
  if (verbose && faults.empty())
    std::printf("passed  %s (%lld comparisons)\n", id.c_str(), static_cast<long long>(comparisons));
  for (const std::string& fault : faults)
    std::printf("FAILED  %s: %s\n", id.c_str(), fault.c_str());
}

void print_lists(const char* title, const std::map<std::string, std::vector<std::string>>& lists,
                 bool names) {
  if (lists.empty()) return;
  std::printf("%s\n", title);
  for (const auto& [reason, cases] : lists) {
    std::printf("  %4zu  %s\n", cases.size(), reason.c_str());
    if (names)
      for (const std::string& id : cases) std::printf("          %s\n", id.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Checks tweedie against a pack of numbers that other systems' own code computed.",
               "tweedie-reference");
  std::string folder;
  std::vector<std::string> groups, wanted;
  bool verbose = false;
  app.add_option("PACK_FOLDER", folder, "folder with index.json")->required();
  app.add_option("--group", groups, "only these groups, e.g. A");
  app.add_option("--case", wanted, "only these cases, by id");
  app.add_flag("--verbose,-v", verbose, "name every case");
  try {
    app.parse(argc, argv);
    const Pack pack(folder);
    std::set<std::string> known_groups, known_cases;
    for (const Json& row : pack.rows()) {
      known_groups.insert(row["group"]);
      known_cases.insert(row["id"]);
    }
    const auto check_known = [](const std::vector<std::string>& given,
                                const std::set<std::string>& known, const char* what) {
      for (const std::string& name : given)
        check(known.contains(name), what, " '", name, "' is not in this pack",
              suggestion(name, {known.begin(), known.end()}));
    };
    check_known(groups, known_groups, "--group");
    check_known(wanted, known_cases, "--case");
    const auto chosen = [](const std::vector<std::string>& list, const std::string& name) {
      return list.empty() || std::find(list.begin(), list.end(), name) != list.end();
    };
    Tally tally;
    for (const Json& row : pack.rows())
      if (chosen(groups, row["group"]) && chosen(wanted, row["id"]))
        run_case(pack, row, verbose, tally);
    print_lists("reproduced under a compatibility option (a defect or convention of the peer):",
                tally.compatibilities, verbose);
    print_lists("skipped:", tally.skips, verbose);
    std::printf("%lld passed, %lld failed, %lld skipped\n", static_cast<long long>(tally.passed),
                static_cast<long long>(tally.failed), static_cast<long long>(tally.skipped));
    check(tally.passed + tally.failed > 0, folder,
          ": no case was compared; choose other --group or --case");
    return tally.failed > 0 ? 1 : 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::cerr << "tweedie-reference: " << error.what() << "\n";
    return 2;
  }
}
