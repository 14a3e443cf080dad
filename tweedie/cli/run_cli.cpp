#include "tweedie/cli/run_cli.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>

#include <c10/util/Exception.h>

#include "tweedie/base/fields.h"
#include "tweedie/cli/commands.h"
#include "tweedie/cli/numbers.h"
#include "tweedie/cli/threads.h"

namespace tweedie {
namespace {

constexpr int kInputWrong = 2, kOtherFailure = 1;

/// Errors are one line each.
int failed(int status, std::string message) {
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.pop_back();
  for (char& c : message)
    if (c == '\n') c = ' ';
  std::fprintf(stderr, "tweedie: %s\n", message.c_str());
  return status;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

/// What was typed and not understood, with the nearest option of the command it was typed to.
std::string unknown_argument(const CLI::App& app, const std::string& what) {
  const auto given = app.get_subcommands();
  const CLI::App& command = given.empty() ? app : *given.front();
  const std::string help =
      "; see `tweedie " + (given.empty() ? "" : command.get_name() + " ") + "--help`";
  // CLI11 lists what was left over, an option's value perhaps before it.
  const size_t colon = what.rfind(": ");
  std::istringstream words(colon == std::string::npos ? what : what.substr(colon + 2));
  std::string word;
  for (std::string next; words >> next;)
    if (word.empty() || (word.rfind("--", 0) != 0 && next.rfind("--", 0) == 0)) word = next;
  if (word.rfind("--", 0) != 0) return "unexpected argument '" + word + "'" + help;
  word = word.substr(0, word.find('='));
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  const std::string near = nearest_name(word, names);
  return "unknown option '" + word + "'" +
         (near.empty() ? help : " (did you mean '" + near + "'?)");
}

int parse_failure(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0)
    return app.exit(error, std::cout, std::cerr);  // --help, --version
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr)
    return failed(kInputWrong, unknown_argument(app, error.what()));
  const auto given = app.get_subcommands();
  return failed(kInputWrong, std::string(error.what()) + "; see `tweedie " +
                                 (given.empty() ? "" : given.front()->get_name() + " ") +
                                 "--help`");
}

}  // namespace

int run_cli(int argc, char** argv, const Registry& registry) {
  CLI::App app(
      "Diffusion models: train them, sample from them, and ask how probable data is under them.",
      "tweedie");
  app.set_version_flag("--version", "tweedie " TWEEDIE_VERSION);
  app.require_subcommand(1);
  app.footer("Begin with:  tweedie train --data fashion-mnist --budget 5m --out run");
  Cli cli{registry, {}};
  for (auto* add : {add_train, add_sample, add_compare_samplers, add_evaluate, add_diffuse,
                    add_list, add_describe, add_data, add_import, add_export, add_baselines,
                    add_metrics, add_report, add_bench})
    add(app, cli);
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    if (CLI::Option* seed = command->get_option_no_throw("--seed"))
      seed->check(non_negative());  // an unsigned number would take -1 for 2^64 - 1
  try {
    const std::string first = argc > 1 ? argv[1] : "";
    if (!first.empty() && first[0] != '-') {
      const std::vector<std::string> names = command_names(app);
      check(std::find(names.begin(), names.end(), first) != names.end(), "unknown command '", first,
            "'", suggestion(first, names));
    }
    app.parse(argc, argv);
    if (cli.computes) restart_with_settings(argv);
    use_all_cores();
    return cli.action();
  } catch (const CLI::ParseError& error) {
    return parse_failure(app, error);
  } catch (const Error& error) {
    return failed(kInputWrong, error.what());
  } catch (const c10::Error& error) {
    return failed(kOtherFailure, error.what_without_backtrace());
  } catch (const Json::type_error& error) {
    constexpr int kNotUtf8 = 316;
    return failed(
        kInputWrong,
        std::string(error.id == kNotUtf8 ? "a name or text that was given is not UTF-8, which "
                                           "configurations and reports are written in: "
                                         : "a value of a configuration is of the wrong kind: ") +
            error.what());
  } catch (const std::bad_alloc&) {
    return failed(kOtherFailure,
                  "not enough memory; try a smaller batch (--batch, --set train.batch=...)");
  } catch (const std::exception& error) {
    return failed(kOtherFailure, error.what());
  }
}

}  // namespace tweedie
