// How probable data is under a model, with error bars.
#pragma once

#include "tweedie/jobs/example_table.h"
#include "tweedie/jobs/model_file.h"

namespace tweedie {

struct EvaluateRequest {
  int64_t limit = 0;              // examples, evenly spread over the data; 0: all
  int64_t shard = 1, shards = 1;  // of the batches, this part of so many
  int64_t path_steps =
      0;  // levels of the bound's path; 0: the chain's own T, or 1000 on a continuous schedule
  int64_t terms = 0;          // levels drawn per example; 0: every one
  std::string decoder = {};   // empty: discretised for a chain, softmax for a continuous schedule,
                              // gaussian for continuous data; by the flow: none
  std::string variance = {};  // empty: the model's own; for ais never `small` unless asked for
  X0Variance x0_variance = {};  // for the variance `analytic`: see measured_x0_variance

  int64_t paths = 0;  // of ais, for each example (0: 8); draws of the bound's noise (0: 1)

  double rtol = 1e-5, atol = 1e-5;        // of the flow
  int64_t max_evaluations = 10000;        // an example that needs more is left out of the result
  std::string divergence = "rademacher";  // or gaussian, exact
  int64_t probes = 1;
  int64_t exact_limit = 64;  // dimensions up to which `exact` is not refused
  bool numerical_error = true;
  bool solver_curve = false;  // solve the first examples at coarser tolerances too: solver_curve.h
  std::string dequantisation = "uniform";  // or none
  int64_t draws = 1;  // of the dequantisation, or of the noise before a decoder, for each example

  std::string compat = {};  // a peer whose conventions to reproduce: see compat_request
  bool bits = false;        // bits/dim for continuous data too
  uint64_t seed = 0;
  int64_t batch = 64;
  Log log = {};
};

/// Means over the examples, and standard errors of the means.  bits_per_dim is NaN for continuous
/// data.  The flow's are over the examples that reached its end; the others are in the table with
/// NaN and counted in `unfinished`.  A model of classes is shown each example's class and pays log
/// K for it, so that the sum bounds -log p(x) of the mixture of its K classes, as without classes:
/// p(x) >= p(x | y) / K.
struct Evaluation {
  Json settings;               // method, kind, and what repeats the run
  ExampleTable table;          // "nats", and the variance of each from every source that is known
  Json sums = Json::object();  // of lists that shards add up
  int64_t examples = 0, unfinished = 0, dims = 0;
  double nats = 0, nats_error = 0, bits_per_dim = 0, bits_per_dim_error = 0;
  double seconds = 0;
};

/// The variational bound; log p by annealed importance sampling; by the probability flow.
Evaluation evaluate_vlb(const Model& model, const Dataset& data, const EvaluateRequest& request);
Evaluation evaluate_ais(const Model& model, const Dataset& data, const EvaluateRequest& request);
Evaluation evaluate_ode(const Model& model, const Dataset& data, const EvaluateRequest& request);

/// Fills the numbers from the table.  Throws Error where they are not finite, and where no example
/// is finished, unless this is a shard, whose numbers are then NaN.
void summarise(Evaluation& evaluation);

/// Every number with its unit in the key, and what repeats the run.
Json to_json(const Evaluation& evaluation);
/// The result in words: its value with error and unit, then what it is made of.
std::vector<std::string> lines_of(const Evaluation& evaluation);
/// How many examples are missing, what that means and what to do; empty if none is.
std::string warning_of(const Evaluation& evaluation);

/// log w of every path of each example [examples, paths]; those of path k are the column
/// log_weight_column(k).
Tensor log_weights_of(const ExampleTable& table);
std::string log_weight_column(int64_t path);

/// Standard error of each example's own nats [examples] from its probes, draws or paths; NaN where
/// one of its sources is not known.
Tensor error_of_examples(const ExampleTable& table);

/// to_json with what merge_evaluations needs: the numbers of each example.
Json shard_json(const Evaluation& evaluation);
/// The evaluation whose parts these shard_jsons are, to the last bit.  Throws Error where parts are
/// missing, given twice or of another evaluation; `names` of the parts are for the messages.
Evaluation merge_evaluations(const std::vector<Json>& parts, const std::vector<std::string>& names);

/// The decoder called `name`: discretised, softmax or gaussian; empty: what suits the model's data
/// and schedule.  Throws Error on another name and where it does not fit the data.
std::string decoder_name(const Model& model, const std::string& name);
Decoder decoder_named(const std::string& name, int64_t levels, Variance variance, const Path& path);
/// The same with a variance of its own; `learned`: a mix between it and that of q(x_t | x_0).
Decoder decoder_with_variance(const std::string& name, int64_t levels, double variance,
                              bool learned);

/// Mean squared error of the model's x0 a dimension at each level of `path`, over at most `limit`
/// examples: what makes a reverse variance match the data's second moment on average.  To be
/// measured on other data than what is evaluated.
X0Variance measured_x0_variance(const Model& model, const Dataset& data, const Path& path,
                                int64_t limit, uint64_t seed);

/// -log P of quantised data from the log density of its dequantised value, in nats: a bin of
/// `levels` values in [-1, 1] is 2 / (levels - 1) wide in each dimension.
Tensor dequantised_nats(const Tensor& log_density, int64_t dims, int64_t levels);

}  // namespace tweedie
