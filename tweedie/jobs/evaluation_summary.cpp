#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tweedie/jobs/evaluation_data.h"
#include "tweedie/model/ais.h"

namespace tweedie {
namespace {

/// Standard error of the mean that examples' own errors of this variance leave; NaN where it is not
/// known of all.
double error_of_source(const ExampleTable& table, const std::string& column) {
  if (!table.has(column)) return std::nan("");
  return std::sqrt(table.column(column).sum().item<double>()) /
         static_cast<double>(table.index.size());
}

/// What is left of the whole error when the known sources are taken away: the choice of examples,
/// and sources that one draw does not show.
double error_of_data(double total, const std::vector<double>& sources) {
  double squares = total * total;
  for (const double source : sources)
    if (std::isfinite(source)) squares -= source * source;
  return std::isfinite(total) ? std::sqrt(std::max(0.0, squares)) : std::nan("");
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json by_source(const Evaluation& e, double unit) {
  const double probe = error_of_source(e.table, "probe_variance"),
               dequantisation = error_of_source(e.table, "dequantisation_variance"),
               path = error_of_source(e.table, "path_variance");
  return {{"total", number(e.nats_error * unit)},
          {"data", number(error_of_data(e.nats_error, {probe, dequantisation, path}) * unit)},
          {"probe", number(probe * unit)},
          {"dequantisation", number(dequantisation * unit)},
          {"path", number(path * unit)}};
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

void add_flow(Json& out, const Evaluation& e) {
  const Tensor evaluations = e.table.column("evaluations");
  out["evaluations"] = mean_of(evaluations).value;
  out["evaluations_most"] = evaluations.max().item<double>();
  out["prior_mismatch_nats"] = -mean_of(e.table.column("prior_mismatch")).value;
  if (!e.table.has("numerical_error")) return;
  const Tensor error = e.table.column("numerical_error");
  out["numerical_error_nats"] = mean_of(error).value;
  out["numerical_error_nats_most"] = error.max().item<double>();
}

bool by_flow(const Evaluation& e) { return e.table.has("prior_mismatch"); }
bool by_weights(const Evaluation& e) { return e.table.has(log_weight_column(0)); }

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
  for (const char* source : {"probe_variance", "dequantisation_variance", "path_variance"}) {
    if (!table.has(source)) continue;
    const Tensor part = table.column(source);
    variance = variance.defined() ? variance + part : part;
  }
  if (variance.defined()) return variance.sqrt();
  return at::full({static_cast<int64_t>(table.index.size())}, std::nan(""), at::kDouble);
}

void summarise(Evaluation& e) {
  e.dims = e.settings.at("dims");
  e.examples = static_cast<int64_t>(e.table.index.size());
  const Mean mean = mean_of(e.table.column("nats"));
  if (!std::isfinite(mean.value)) {
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

Json to_json(const Evaluation& e) {
  const double dims = static_cast<double>(e.dims);
  const bool bits = std::isfinite(e.bits_per_dim);
  const Json& settings = e.settings;
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
  if (by_flow(e)) add_flow(out, e);
  for (const auto& [name, value] : settings.items())
    if (!out.contains(name) && name != "in_bits") out[name] = value;
  out["seconds"] = e.seconds;
  return out;
}

std::vector<std::string> lines_of(const Evaluation& e) {
  const bool bits = std::isfinite(e.bits_per_dim);
  const double dims = static_cast<double>(e.dims);
  const auto in_unit = [&](double nats) { return bits ? bits_per_dim(nats, e.dims) : nats / dims; };
  std::vector<std::string> lines = {
      bits ? with_error(e.bits_per_dim, e.bits_per_dim_error, "bits/dim")
           : with_error(e.nats / dims, e.nats_error / dims, "nats/dim")};
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
  if (e.table.has("numerical_error")) {
    std::snprintf(line, sizeof line,
                  "  solver's error about %.2g nats (at most %.2g), prior's mismatch %.2g nats",
                  record.at("numerical_error_nats").get<double>(),
                  record.at("numerical_error_nats_most").get<double>(),
                  record.at("prior_mismatch_nats").get<double>());
    lines.push_back(line);
  }
  return lines;
}

}  // namespace tweedie
