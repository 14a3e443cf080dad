#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "tests/jobs/scratch.h"
#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/jobs/checkpoint.h"
#include "tweedie/jobs/run_folder.h"

using namespace tweedie;

namespace {

Checkpoint checkpoint_at(int64_t step) {
  Checkpoint checkpoint;
  checkpoint.step = step;
  checkpoint.config = {{"train", {{"batch", 3}}}};
  checkpoint.state = {{"cursor", step * 3}};
  checkpoint.tensors["weights.w"] = at::full({2, 3}, static_cast<double>(step));
  return checkpoint;
}

void flip_byte(const std::string& path, int64_t from_end) {
  std::string bytes = read_file(path);
  bytes[bytes.size() - static_cast<size_t>(from_end)] ^= 1;
  std::ofstream(path, std::ios::binary) << bytes;
}

std::vector<std::string> said;
void hear(const std::string& line) { said.push_back(line); }

}  // namespace

TEST_CASE("a checkpoint comes back as it was saved, and equal ones are equal bytes") {
  const Scratch a, b;
  save_checkpoint(a.path, checkpoint_at(5), 2);
  save_checkpoint(b.path, checkpoint_at(5), 2);
  CHECK(read_file(checkpoint_path(a.path, 5)) == read_file(checkpoint_path(b.path, 5)));
  const Checkpoint back = load_checkpoint(checkpoint_path(a.path, 5));
  CHECK(back.step == 5);
  CHECK(back.state == checkpoint_at(5).state);
  CHECK(at::equal(back.tensors.at("weights.w"), checkpoint_at(5).tensors.at("weights.w")));
}

TEST_CASE("only the newest checkpoints are kept") {
  const Scratch run;
  for (int64_t step = 1; step <= 5; ++step) save_checkpoint(run.path, checkpoint_at(step), 2);
  const std::vector<std::string> paths = list_checkpoints(run.path);
  REQUIRE(paths.size() == 2);
  CHECK(paths[0] == checkpoint_path(run.path, 5));
  CHECK(paths[1] == checkpoint_path(run.path, 4));
}

TEST_CASE("a damaged or half-written checkpoint is passed over aloud") {
  const Scratch run;
  save_checkpoint(run.path, checkpoint_at(1), 9);
  save_checkpoint(run.path, checkpoint_at(2), 9);
  save_checkpoint(run.path, checkpoint_at(3), 9);
  flip_byte(checkpoint_path(run.path, 3), 1);
  std::filesystem::resize_file(checkpoint_path(run.path, 2), 40);
  said.clear();
  CHECK(newest_checkpoint(run.path, hear)->step == 1);
  REQUIRE(said.size() == 2);
  CHECK(said[0].find("step-000000003") != std::string::npos);
  CHECK(said[1].find("step-000000002") != std::string::npos);
}

TEST_CASE("a run whose every checkpoint is damaged is an error, an empty one is not") {
  const Scratch run;
  CHECK(!newest_checkpoint(run.path, hear).has_value());
  save_checkpoint(run.path, checkpoint_at(1), 2);
  flip_byte(checkpoint_path(run.path, 1), 3);
  CHECK_THROWS_AS(newest_checkpoint(run.path, hear), Error);
}

TEST_CASE("a run folder is not overwritten without --resume") {
  const Scratch scratch;
  const std::string run = scratch / "run";
  open_run_folder(run, false);
  open_run_folder(run, false);  // still without checkpoints
  save_checkpoint(run, checkpoint_at(1), 2);
  CHECK_THROWS_WITH_AS(open_run_folder(run, false), doctest::Contains("--resume"), Error);
  CHECK_NOTHROW(open_run_folder(run, true));
  std::ofstream(scratch / "file") << "x";
  CHECK_THROWS_AS(open_run_folder(scratch / "file", false), Error);
}

TEST_CASE("metrics after the step resumed from are forgotten, and so is a line cut short") {
  const Scratch run;
  for (int64_t step = 1; step <= 4; ++step)
    append_metrics(run.path, {{"step", step}, {"loss", 0.5}});
  std::ofstream(run / "metrics.jsonl", std::ios::app) << "{\"step\": 5, \"lo";
  truncate_metrics(run.path, 2);
  CHECK(read_file(run / "metrics.jsonl") ==
        "{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"loss\":0.5}\n");
}

TEST_CASE("seconds spent of a budget are remembered") {
  const Scratch run;
  CHECK(read_seconds_spent(run.path) == 0);
  write_seconds_spent(run.path, 12.5);
  CHECK(read_seconds_spent(run.path) == 12.5);
  std::ofstream(run / "budget.json") << "{";
  CHECK_THROWS_AS(read_seconds_spent(run.path), Error);
}
