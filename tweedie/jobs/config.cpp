#include "tweedie/jobs/config.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <toml++/toml.h>

#include "tweedie/jobs/recipes.h"
#include "tweedie/process/path.h"

namespace tweedie {
namespace {

constexpr int64_t kMaxBatch = 1 << 20;

Json to_json_value(const toml::node& node, const std::string& where) {
  if (const auto* table = node.as_table()) {
    Json out = Json::object();
    for (const auto& [key, value] : *table) {
      const std::string name(key.str());
      out[name] = to_json_value(value, where + "." + name);
    }
    return out;
  }
  if (const auto* array = node.as_array()) {
    Json out = Json::array();
    for (const toml::node& item : *array) out.push_back(to_json_value(item, where));
    return out;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* whole = node.as_integer()) return whole->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  throw Error(
      where +
      ": dates and times are not used in recipes; expected a number, a text, true/false or a list");
}

Json parse_recipe(const std::string& text, const std::string& name) {
  try {
    return to_json_value(toml::parse(text), name);
  } catch (const toml::parse_error& error) {
    std::ostringstream message;
    message << name << ", line " << error.source().begin.line
            << ": not valid TOML: " << error.description();
    throw Error(message.str());
  }
}

void positive(int64_t value, const char* name) {
  check(value >= 1, name, ": expected 1 or more, got ", value);
}

void not_negative(double value, const char* name) {
  check(std::isfinite(value) && value >= 0, name, ": expected 0 or more, got ", value);
}

void decay_rate(double value, const char* name) {
  check(value >= 0 && value < 1, name, ": expected a rate in [0, 1), got ", value);
}

void one_of(const std::string& value, const char* name, const std::vector<std::string>& known) {
  check(std::find(known.begin(), known.end(), value) != known.end(), name, ": unknown value '",
        value, "'", suggestion(value, known));
}

void check_train(const TrainConfig& train) {
  positive(train.steps, "train.steps");
  positive(train.batch, "train.batch");
  positive(train.accumulate, "train.accumulate");
  check(train.batch <= kMaxBatch, "train.batch: expected at most ", kMaxBatch, ", got ",
        train.batch);
  check(train.accumulate <= train.batch, "train.accumulate: cannot split a batch of ", train.batch,
        " into ", train.accumulate, " parts; lower it or raise train.batch");
  check(std::isfinite(train.learning_rate) && train.learning_rate > 0,
        "train.learning_rate: expected a positive number, got ", train.learning_rate);
  one_of(train.optimiser, "train.optimiser", {"adamw", "adam"});
  decay_rate(train.beta1, "train.beta1");
  decay_rate(train.beta2, "train.beta2");
  not_negative(train.weight_decay, "train.weight_decay");
  check(std::isfinite(train.epsilon) && train.epsilon > 0,
        "train.epsilon: expected a positive number, got ", train.epsilon);
  not_negative(static_cast<double>(train.warmup), "train.warmup");
  one_of(train.decay, "train.decay", {"constant", "linear", "cosine", "restarts", "polynomial"});
  check(train.decay_from >= 0 && train.decay_from < 1,
        "train.decay_from: expected a fraction in [0, 1), got ", train.decay_from);
  check(train.decay_to >= 0 && train.decay_to <= 1,
        "train.decay_to: expected a share in [0, 1], got ", train.decay_to);
  check(std::isfinite(train.decay_power) && train.decay_power > 0,
        "train.decay_power: expected a positive number, got ", train.decay_power);
  positive(train.decay_cycles, "train.decay_cycles");
  not_negative(train.clip, "train.clip");
  one_of(train.draw, "train.draw", {"uniform", "antithetic", "stratified", "loss-aware"});
  check(!train.by_weight || train.draw != "loss-aware",
        "train.by_weight: train.draw=loss-aware chooses the levels itself; set one of the two");
  for (const double rate : train.ema) decay_rate(rate, "train.ema");
  not_negative(train.ema_power, "train.ema_power");
  not_negative(static_cast<double>(train.ema_after), "train.ema_after");
  one_of(train.precision, "train.precision", {"auto", "fp32", "bf16"});
  check(train.seed >= 0, "train.seed: expected 0 or more, got ", train.seed);
}

}  // namespace

Json read_recipe(const std::string& name_or_path) {
  const auto& recipes = builtin_recipes();
  if (const auto found = recipes.find(name_or_path); found != recipes.end())
    return parse_recipe(found->second, "recipe " + name_or_path);
  std::vector<std::string> names;
  for (const auto& [name, text] : recipes) names.push_back(name);
  std::error_code ignored;
  check(std::filesystem::is_regular_file(name_or_path, ignored), "recipe '", name_or_path,
        "': neither a file nor a recipe of this program", suggestion(name_or_path, names));
  std::ifstream file(name_or_path);
  std::ostringstream text;
  text << file.rdbuf();
  check(file.good(), "recipe '", name_or_path, "': cannot be read; check its permissions");
  return parse_recipe(text.str(), name_or_path);
}

void set_option(Json& config, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  check(equals != std::string::npos && equals > 0, "--set ", assignment,
        ": expected key=value, as in train.batch=32");
  Json* place = &config;
  std::istringstream keys(assignment.substr(0, equals));
  for (std::string key; std::getline(keys, key, '.');) {
    check(!key.empty(), "--set ", assignment,
          ": a part of the key is empty; write it as in train.batch=32");
    check(place->is_null() || place->is_object(), "--set ", assignment, ": '", key,
          "' lies below a value, not a table");
    place = &(*place)[key];
  }
  const std::string text = assignment.substr(equals + 1);
  Json value = parse_json(text);
  *place = value.is_discarded() ? Json(text) : std::move(value);
}

RunConfig make_config(const Json& given) {
  Json full = to_json(RunConfig{});
  check(given.is_object(), "configuration: expected tables such as [train], got ", given.dump());
  full.merge_patch(given);
  const RunConfig config = from_json<RunConfig>(full, "");
  for (const auto& [table, name] : {std::pair{&config.model, "network"},
                                    {&config.model, "parameterisation"},
                                    {&config.model, "variance"},
                                    {&config.schedule, "name"}})
    check(table->is_object() && table->contains(name) && (*table)[name].is_string(),
          "configuration: '", name, "' must be a text");
  one_of(config.model["variance"], "model.variance", {"small", "large", "learned"});
  check(config.data.drop_class >= 0 && config.data.drop_class < 1,
        "data.drop_class: expected a share in [0, 1), got ", config.data.drop_class);
  check_train(config.train);
  positive(config.checkpoint.every, "checkpoint.every");
  positive(config.checkpoint.keep, "checkpoint.keep");
  positive(config.watch.log_every, "watch.log_every");
  not_negative(static_cast<double>(config.watch.held_out_every), "watch.held_out_every");
  positive(config.watch.held_out, "watch.held_out");
  not_negative(static_cast<double>(config.watch.samples_every), "watch.samples_every");
  positive(config.watch.samples, "watch.samples");
  positive(config.sample.steps, "sample.steps");
  one_of(config.sample.path, "sample.path", path_names());
  check(std::isfinite(config.sample.guidance), "sample.guidance: expected a finite number");
  check(config.sample.guidance == 1 || config.data.conditional,
        "sample.guidance: needs a model of classes; set data.conditional=true, or leave it at 1");
  return config;
}

}  // namespace tweedie
