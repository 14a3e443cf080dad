#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "tweedie/jobs/evaluation_data.h"
#include "tweedie/model/ais.h"

namespace tweedie {
namespace {

/// Where the flow of an example that did not reach its end stopped; NaN for the others.
constexpr const char* kStopped = "stopped_at_t";

ExampleTable unfinished_rows(const ExampleTable& table) {
  if (!table.has(kStopped)) return {};
  return rows_where(table, kStopped, [](double t) { return std::isfinite(t); });
}

/// Those whose numbers are known, of which all means are.
ExampleTable finished_rows(const ExampleTable& table) {
  if (!table.has(kStopped)) return table;
  return rows_where(table, kStopped, [](double t) { return std::isnan(t); });
}

/// What an example's own number may be uncertain by.  The one before the last is both of those
/// before it, where one probe for each draw does not tell them apart.
constexpr const char* kSources[] = {"probe", "dequantisation", "probe_and_dequantisation", "path"};
std::string variance_column(const std::string& source) { return source + "_variance"; }

/// Standard error of the mean that examples' own errors from this source leave; NaN where it is not
/// known of all.
double error_of_source(const ExampleTable& table, const std::string& source) {
  const std::string column = variance_column(source);
  if (!table.has(column)) return std::nan("");
  return std::sqrt(table.column(column).sum().item<double>()) /
         static_cast<double>(table.index.size());
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

/// `data` is what is left of the whole error when the known sources are taken away: the choice of
/// examples, and sources that one draw does not show.
Json by_source(const Evaluation& e, double unit) {
  const double total = e.nats_error;
  Json out = {{"total", number(total * unit)}, {"data", nullptr}};
  double squares = total * total;
  for (const char* source : kSources) {
    const double error = error_of_source(e.table, source);
    if (std::isfinite(error)) squares -= error * error;
    out[source] = number(error * unit);
  }
  if (std::isfinite(total)) out["data"] = std::sqrt(std::max(0.0, squares)) * unit;
  return out;
}

Json term(const Evaluation& e, const Mean& mean) {
  Json out = {{"nats", mean.value},
              {"nats_standard_error", number(mean.error)},
              {"nats_per_dim", mean.value / static_cast<double>(e.dims)}};
  if (std::isfinite(e.bits_per_dim)) out["bits_per_dim"] = bits_per_dim(mean.value, e.dims);
  return out;
}

void add_bound(Json& out, const Evaluation& e) {
  for (const char* name : {"prior", "diffusion", "decoder"})
    out["terms"][name] = term(e, mean_of(e.table.column(name)));
  const double of_class = e.settings.at("class_nats");
  if (of_class > 0) out["terms"]["class"] = term(e, {of_class, 0});
  out["terminal_mismatch_nats"] = mean_of(e.table.column("terminal_mismatch")).value;
  const Json &sums = e.sums.at("per_level_sums"), &counts = e.sums.at("per_level_counts");
  std::vector<double> means;  // noise first; not drawn: NaN
  for (size_t i = 0; i < sums.size(); ++i)
    means.push_back(counts[i].get<int64_t>() > 0
                        ? sums[i].get<double>() / static_cast<double>(counts[i].get<int64_t>())
                        : std::nan(""));
  out["per_level_nats"] = means;
}

Variance variance_in_words(const std::string& name) {
  return name == "small" ? Variance::small : Variance::large;
}

std::string advice_of(const Evaluation& e) {
  return ais_advice(ais_estimate(log_weights_of(e.table)), e.settings.at("paths"),
                    variance_in_words(e.settings.at("variance")));
}

void add_weights(Json& out, const Evaluation& e) {
  const AisEstimate estimate = ais_estimate(log_weights_of(e.table));
  const Mean one = mean_of(e.settings.at("class_nats").get<double>() - estimate.mean);
  out["nats_of_one_path"] = one.value;
  out["nats_of_one_path_standard_error"] = number(one.error);
  out["log_weight_variance"] = number(mean_of(estimate.variance).value);
  out["effective_paths"] = mean_of(estimate.effective_paths).value;
  out["advice"] = advice_of(e);
}

/// `all`: the table with the unfinished examples, which cost evaluations too.
void add_flow(Json& out, const Evaluation& e, const ExampleTable& all) {
  const Tensor evaluations = all.column("evaluations");
  out["evaluations"] = mean_of(evaluations).value;
  out["evaluations_most"] = evaluations.max().item<double>();
  out["unfinished"] = e.unfinished;
  out["partial"] = e.unfinished > 0;
  out["unfinished_examples"] = Json::array();
  const ExampleTable unfinished = unfinished_rows(all);
  for (size_t i = 0; i < unfinished.index.size(); ++i)
    out["unfinished_examples"].push_back(
        {{"index", unfinished.index[i]}, {"stopped_at_t", unfinished.columns.at(kStopped)[i]}});
  out["prior_mismatch_nats"] = number(-mean_of(e.table.column("prior_mismatch")).value);
  if (!e.table.has("numerical_error")) return;
  const Tensor error = e.table.column("numerical_error"),
               known = error.masked_select(error.isfinite());
  out["numerical_error_nats"] = number(mean_of(known).value);
  out["numerical_error_nats_most"] =
      number(known.numel() > 0 ? known.max().item<double>() : std::nan(""));
  out["numerical_error_unknown"] = error.numel() - known.numel();
}

bool by_flow(const Evaluation& e) { return e.table.has("prior_mismatch"); }
bool by_weights(const Evaluation& e) { return e.table.has(log_weight_column(0)); }

constexpr const char* kMoreEvaluations = "; pass a larger --max-evaluations or --tolerance";

std::string unfinished_in_words(const Evaluation& e) {
  const ExampleTable unfinished = unfinished_rows(e.table);
  const Json& settings = e.settings;
  std::ostringstream words;
  words << "evaluate: " << e.unfinished << " of " << e.examples + e.unfinished
        << " examples did not reach the end of the flow within " << settings.at("max_evaluations")
        << " evaluations at rtol " << settings.at("rtol") << ", atol " << settings.at("atol")
        << " (example " << unfinished.index.at(0)
        << " stopped at t = " << unfinished.columns.at(kStopped).at(0) << ")";
  return words.str();
}

/// The solver's part of a result in words.
std::string accuracy_in_words(const Json& record) {
  char text[160];
  if (record.at("numerical_error_nats").is_null())
    std::snprintf(text, sizeof text, "solver's error unknown");
  else
    std::snprintf(text, sizeof text, "solver's error about %.2g nats (at most %.2g)",
                  record.at("numerical_error_nats").get<double>(),
                  record.at("numerical_error_nats_most").get<double>());
  std::string words = text;
  const int64_t unknown = record.at("numerical_error_unknown");
  if (unknown > 0) words += ", not known for " + std::to_string(unknown) + " examples";
  std::snprintf(text, sizeof text, ", prior's mismatch %.2g nats",
                record.at("prior_mismatch_nats").get<double>());
  return words + text;
}

std::string with_error(double value, double error, const char* unit) {
  char text[96];
  if (std::isfinite(error))
    std::snprintf(text, sizeof text, "%.4f +- %.4f %s", value, error, unit);
  else
    std::snprintf(text, sizeof text, "%.4f %s (one example: no error bar)", value, unit);
  return text;
}

}  // namespace

std::string log_weight_column(int64_t path) { return "log_weight " + std::to_string(path); }

Tensor log_weights_of(const ExampleTable& table) {
  std::vector<Tensor> paths;
  for (int64_t k = 0; table.has(log_weight_column(k)); ++k)
    paths.push_back(table.column(log_weight_column(k)));
  check(!paths.empty(), "example table: has no weights of paths; evaluate with --method ais");
  return at::stack(paths, 1);
}

Tensor error_of_examples(const ExampleTable& table) {
  Tensor variance;
  for (const char* source : kSources) {
    if (!table.has(variance_column(source))) continue;
    const Tensor part = table.column(variance_column(source));
    variance = variance.defined() ? variance + part : part;
  }
  if (variance.defined()) return variance.sqrt();
  return at::full({static_cast<int64_t>(table.index.size())}, std::nan(""), at::kDouble);
}

void summarise(Evaluation& e) {
  const ExampleTable finished = finished_rows(e.table);
  e.dims = e.settings.at("dims");
  e.examples = static_cast<int64_t>(finished.index.size());
  e.unfinished = static_cast<int64_t>(e.table.index.size()) - e.examples;
  if (e.examples == 0 && e.settings.at("shards") == 1)
    fail(unfinished_in_words(e), kMoreEvaluations);
  const Mean mean = mean_of(finished.column("nats"));
  if (e.examples > 0 && !std::isfinite(mean.value)) {
    std::string parts;
    for (const char* name : {"prior", "diffusion", "decoder"})
      if (e.table.has(name))
        parts += std::string(parts.empty() ? " (" : ", ") + name + " " +
                 std::to_string(mean_of(e.table.column(name)).value);
    fail("evaluate: the bound is not finite", parts, parts.empty() ? "" : " nats)",
         "; the weights are damaged or diverged in training, try an earlier checkpoint");
  }
  e.nats = mean.value;
  e.nats_error = mean.error;
  const bool bits = e.settings.at("in_bits");
  e.bits_per_dim = bits ? bits_per_dim(mean.value, e.dims) : std::nan("");
  e.bits_per_dim_error = bits ? bits_per_dim(mean.error, e.dims) : std::nan("");
}

Json to_json(const Evaluation& given) {
  Evaluation e = given;
  e.table = finished_rows(given.table);
  const double dims = static_cast<double>(e.dims);
  const Json& settings = e.settings;
  const bool bits = settings.at("in_bits");
  Json out = Json::object();
  for (const char* name : {"method", "kind", "meaning", "compat"})
    if (settings.contains(name)) out[name] = settings.at(name);
  out["images"] = e.examples;
  out["dims"] = e.dims;
  if (settings.contains("evaluations")) out["evaluations"] = settings.at("evaluations");
  out["value"] = bits ? e.bits_per_dim : e.nats / dims;
  out["value_standard_error"] = number(bits ? e.bits_per_dim_error : e.nats_error / dims);
  out["unit"] = bits ? "bits/dim" : "nats/dim";
  if (bits) {
    out["bits_per_dim"] = e.bits_per_dim;
    out["bits_per_dim_standard_error"] = e.bits_per_dim_error;
    out["bits_per_dim_standard_error_by_source"] = by_source(e, bits_per_dim(1, e.dims));
  }
  out["nats"] = e.nats;
  out["nats_standard_error"] = e.nats_error;
  out["nats_standard_error_by_source"] = by_source(e, 1);
  out["nats_per_dim"] = e.nats / dims;
  out["nats_per_dim_standard_error"] = e.nats_error / dims;
  if (e.table.has("diffusion")) add_bound(out, e);
  if (by_weights(e)) add_weights(out, e);
  if (by_flow(e)) add_flow(out, e, given.table);
  for (const auto& [name, value] : settings.items())
    if (!out.contains(name) && name != "in_bits") out[name] = value;
  out["seconds"] = e.seconds;
  return out;
}

std::vector<std::string> lines_of(const Evaluation& e) {
  if (e.examples == 0) return {};
  const bool bits = std::isfinite(e.bits_per_dim);
  const double dims = static_cast<double>(e.dims);
  const auto in_unit = [&](double nats) { return bits ? bits_per_dim(nats, e.dims) : nats / dims; };
  std::vector<std::string> lines = {
      bits ? with_error(e.bits_per_dim, e.bits_per_dim_error, "bits/dim")
           : with_error(e.nats / dims, e.nats_error / dims, "nats/dim")};
  if (e.unfinished > 0)
    lines[0] += " (partial: of " + std::to_string(e.examples) + " of " +
                std::to_string(e.examples + e.unfinished) + " examples)";
  const Json record = to_json(e);
  char line[320], of_class[32] = "";
  const double class_part = e.settings.at("class_nats");
  if (class_part > 0) std::snprintf(of_class, sizeof of_class, ", class %.4f", in_unit(class_part));
  const long long examples = e.examples;
  if (e.table.has("diffusion")) {
    const auto part = [&](const char* name) {
      return in_unit(mean_of(e.table.column(name)).value);
    };
    std::snprintf(line, sizeof line,
                  "  prior %.4f, diffusion %.4f, decoder %.4f%s; %lld examples, %lld evaluations "
                  "each, %.1f s",
                  part("prior"), part("diffusion"), part("decoder"), of_class, examples,
                  record.at("evaluations").get<long long>(), e.seconds);
  } else {
    std::snprintf(line, sizeof line,
                  "  %s of -log p at t_min = %.3g%s; %lld examples, %.0f evaluations each, %.1f s",
                  e.settings.at("kind") == "bound" ? "bound" : "estimate",
                  e.settings.at("t_min").get<double>(), of_class, examples,
                  record.at("evaluations").get<double>(), e.seconds);
  }
  lines.push_back(line);
  if (by_weights(e)) lines.push_back("  " + advice_of(e));
  if (e.table.has("numerical_error")) lines.push_back("  " + accuracy_in_words(record));
  return lines;
}

std::string warning_of(const Evaluation& e) {
  if (e.unfinished == 0) return "";
  const std::string of = e.examples == 0 ? "; this shard has no result of its own"
                                         : "; the result is partial, a mean over the other " +
                                               std::to_string(e.examples) +
                                               " and so biased towards easy examples";
  return unfinished_in_words(e) + of + kMoreEvaluations;
}

}  // namespace tweedie
