// How the program says what is probable: pictures, sources of error, shards, partial results.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "tests/cli/toy_run.h"
#include "tweedie/base/files.h"
#include "tweedie/tensor/image.h"
#include "tweedie/tensor/npy.h"
#include "tweedie/tensor/safetensors.h"

using tweedie::Json;
using namespace tweedie::test;

TEST_CASE("a picture of an evaluation holds its numbers, of parts as of the whole") {
  const TemporaryFolder folder;
  for (const std::string shard : {"1/2", "2/2"})
    REQUIRE(run_program({"evaluate", toy_run(), "--method", "exact", "--limit", "6", "--batch", "3",
                         "--shard", shard, "--json", folder / shard.substr(0, 1), "--plot",
                         folder / "part.svg"})
                .status == 0);
  const Outcome merged = run_program(
      {"evaluate", "--merge", folder / "1", folder / "2", "--plot", folder / "all.png"});
  REQUIRE_MESSAGE(merged.status == 0, merged.err);
  const Json record = Json::parse(tweedie::read_png_texts(folder / "all.png").at(0).second);
  CHECK(record["command"] == "evaluate");
  CHECK(record["images"] == 6);
  CHECK(!record.contains("merge"));
  CHECK(folder.files() == std::vector<std::string>{"1", "2", "all.png", "part.svg"});
}

TEST_CASE("every method says its value, its error by source, its kind and what repeats it") {
  for (const std::string method : {"vlb", "ais", "ode", "exact"}) {
    CAPTURE(method);
    const bool of_chain = method == "vlb" || method == "ais";
    std::vector<std::string> ask = {"evaluate", toy_run(), "--limit", "6",
                                    "--method", method,    "--json",  "-"};
    if (of_chain) ask.insert(ask.end(), {"--path-steps", "20"});
    const Json said = json_of(run_program(ask));
    CHECK(said["method"] == method);
    CHECK(said["unit"] == "nats/dim");
    CHECK(said["kind"] == (of_chain ? "bound" : "estimate"));
    for (const char* key : {"value", "value_standard_error", "t_min", "prior", "evaluations",
                            "seconds", "seed", "nats_standard_error_by_source"})
      CHECK_MESSAGE(said.contains(key), key);
  }
}

TEST_CASE("shards run by the program merge to the whole, example by example") {
  const TemporaryFolder folder;
  const std::vector<std::string> ask = {"evaluate", toy_run(), "--limit",  "20",
                                        "--batch",  "6",       "--method", "ode"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = ask;
    all.insert(all.end(), more.begin(), more.end());
    return run_program(all);
  };
  Json whole = json_of(with({"--json", "-", "--per-example", folder / "whole.csv"}));
  for (const char* shard : {"1", "2"})
    REQUIRE(with({"--shard", std::string(shard) + "/2", "--json", folder / shard}).status == 0);
  Json merged = json_of(run_program({"evaluate", "--merge", folder / "2", folder / "1", "--json",
                                     "-", "--per-example", folder / "merged.csv"}));
  whole.erase("seconds");
  merged.erase("seconds");
  CHECK(merged == whole);
  const std::string csv = tweedie::read_file(folder / "whole.csv");
  CHECK(csv == tweedie::read_file(folder / "merged.csv"));
  CHECK(csv.starts_with("index,nats,nats_standard_error\n0,"));
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 21);
  REQUIRE(with({"--per-example", folder / "a.npy"}).status == 0);
  const at::Tensor rows = tweedie::read_npy(folder / "a.npy");
  CHECK(rows.sizes() == at::IntArrayRef({20, 3}));      // index, nats, standard error
  CHECK(rows.select(1, 2).isnan().all().item<bool>());  // of one probe
  CHECK(std::abs(rows.select(1, 1).mean().item<double>() - whole["nats"].get<double>()) <= 1e-12);
  REQUIRE(run_program({"evaluate", toy_run(), "--limit", "20", "--batch", "5", "--method", "ode",
                       "--shard", "2/2", "--json", folder / "5"})
              .status == 0);
  const Outcome other = run_program({"evaluate", "--merge", folder / "1", folder / "5"});
  CHECK(other.status == 2);
  CHECK(other.err.find("its 'batch' is 5, not 6") != std::string::npos);
  const Outcome half = run_program({"evaluate", "--merge", folder / "2", "--json", "-"});
  CHECK(half.status == 2);
  CHECK(half.err.find("shard 1 of 2 is missing") != std::string::npos);
}

TEST_CASE("examples over their budget leave a partial result, its rows empty, and exit status 1") {
  const TemporaryFolder folder;
  const auto by_flow = [&](std::vector<std::string> more) {
    std::vector<std::string> all = {"evaluate", toy_run(), "--limit",
                                    "20",       "--batch", "6",
                                    "--method", "exact",   "--no-error-estimate"};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(all);
  };
  const Json full = json_of(by_flow({"--json", "-", "--per-example", folder / "full.npy"}));
  CHECK(full["partial"] == false);
  const int64_t budget = full["evaluations"];  // the mean: too few for some
  const std::vector<std::string> ask = {"--max-evaluations", std::to_string(budget)};
  const auto asking = [&](std::vector<std::string> more) {
    more.insert(more.end(), ask.begin(), ask.end());
    return by_flow(more);
  };
  const Outcome outcome = asking({"--json", "-", "--per-example", folder / "a.csv"});
  CHECK(outcome.status == 1);
  CHECK(outcome.err.find("of 20 examples did not reach the end of the flow") != std::string::npos);
  CHECK(outcome.err.find("biased towards easy examples") != std::string::npos);
  Json partial = Json::parse(outcome.out);
  const int64_t missing = partial["unfinished"];
  REQUIRE(missing > 0);
  CHECK(partial["partial"] == true);
  CHECK(partial["unfinished_examples"].size() == static_cast<size_t>(missing));
  CHECK(partial["images"] == 20 - missing);
  const std::string csv = tweedie::read_file(folder / "a.csv");
  const std::string first = partial["unfinished_examples"][0]["index"].dump();
  CHECK(csv.find("\n" + first + ",,\n") != std::string::npos);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 21);

  CHECK(asking({"--per-example", folder / "a.npy"}).status == 1);
  const at::Tensor rows = tweedie::read_npy(folder / "a.npy"),
                   all = tweedie::read_npy(folder / "full.npy");
  const at::Tensor missed = rows.select(1, 1).isnan();
  CHECK(missed.sum().item<int64_t>() == missing);
  CHECK(at::equal(rows.select(1, 2).isnan(), missed));  // an exact divergence has no error
  CHECK(
      at::equal(rows.select(1, 1).masked_select(~missed), all.select(1, 1).masked_select(~missed)));

  std::vector<std::string> merge = {"evaluate", "--merge"};
  for (const char* shard : {"1", "2"}) {
    const int status =
        asking({"--shard", std::string(shard) + "/2", "--json", folder / shard}).status;
    CHECK((status == 0 || status == 1));
    merge.push_back(folder / shard);
  }
  merge.insert(merge.end(), {"--json", "-", "--per-example", folder / "merged.csv"});
  const Outcome together = run_program(merge);
  CHECK(together.status == 1);
  CHECK(together.err.find("biased towards easy examples") != std::string::npos);
  Json merged = Json::parse(together.out);
  partial.erase("seconds");
  merged.erase("seconds");
  CHECK(merged == partial);
  CHECK(tweedie::read_file(folder / "merged.csv") == csv);
}

TEST_CASE(
    "--paths has its own default for each method, and the bound's first draw is that of one") {
  const auto with = [](std::vector<std::string> more) {
    std::vector<std::string> all = {"evaluate",     toy_run(), "--limit", "6",
                                    "--path-steps", "20",      "--json",  "-"};
    all.insert(all.end(), more.begin(), more.end());
    return json_of(run_program(all));
  };
  const Json one = with({}), two = with({"--paths", "2"});
  CHECK(one["paths"] == 1);
  CHECK(with({"--paths", "1"})["nats"] == one["nats"]);
  CHECK(with({"--method", "ais"})["paths"] == 8);
  CHECK(two["nats"] != one["nats"]);
  CHECK(one["nats_standard_error_by_source"]["path"].is_null());
  CHECK(two["nats_standard_error_by_source"]["path"].get<double>() > 0);
}

TEST_CASE("what the flow cannot do is refused by the options that allow it") {
  const Outcome few = run_program(
      {"evaluate", toy_run(), "--limit", "4", "--method", "ode", "--max-evaluations", "9"});
  CHECK(few.status == 2);
  CHECK(few.err.find("4 of 4 examples did not reach the end") != std::string::npos);
  CHECK(few.err.find("--max-evaluations or --tolerance") != std::string::npos);
  const Outcome large = run_program(
      {"evaluate", toy_run(), "--limit", "4", "--method", "exact", "--exact-limit", "1"});
  CHECK(large.status == 2);
  CHECK(large.err.find("--exact-limit allows 1") != std::string::npos);
  CHECK(large.out.empty());
}
