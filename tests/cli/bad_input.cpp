// Whatever is wrong with what the user typed or gave: one line that says so, exit status 2, nothing
// left behind.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <sys/mount.h>
#include <unistd.h>

#include "tests/cli/run_program.h"

using namespace tweedie::test;

namespace {

namespace fs = std::filesystem;

struct Wrong {
  const char* what;
  std::vector<std::string> arguments;
  const char* says;  // part of the message
};

/// OUT in an argument becomes a name inside the folder.
void check_refused(const Wrong& wrong) {
  CAPTURE(wrong.what);
  const TemporaryFolder folder;
  std::vector<std::string> arguments = wrong.arguments;
  for (std::string& argument : arguments)
    if (const size_t at = argument.find("OUT"); at != std::string::npos)
      argument.replace(at, 3, folder.path());
  const Outcome outcome = run_program(arguments);
  CAPTURE(outcome.err);
  CHECK(outcome.status == 2);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.find("tweedie: ") != std::string::npos);
  CHECK(outcome.err.find(wrong.says) != std::string::npos);
  const size_t message = outcome.err.find("tweedie: ");
  CHECK(line_count(outcome.err.substr(message)) == 1);  // no trace after it
  CHECK(folder.files().empty());
}

std::vector<std::string> train_toy(std::vector<std::string> more) {
  std::vector<std::string> arguments = {"train",  "--data", "toy:two-moons", "--recipe",
                                        "toy-2d", "--out",  "OUT/run"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<std::string> train_images(std::vector<std::string> more) {
  std::vector<std::string> arguments = {"train", "--recipe", "fashion-mnist", "--out", "OUT/run"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST_CASE("a wrong command line is refused in one line") {
  for (const Wrong& wrong : std::vector<Wrong>{
           {"no command", {}, "subcommand"},
           {"misspelt command", {"trian"}, "did you mean 'train'?"},
           {"unknown option",
            {"sample", "OUT/run", "--out", "OUT/a.png", "--sede", "3"},
            "did you mean '--seed'?"},
           {"missing option", {"sample", "OUT/run"}, "--out"},
           {"option without value", {"sample", "OUT/run", "--out"}, "--out"},
           {"not a number",
            {"sample", "OUT/run", "--out", "OUT/a.png", "--steps", "many"},
            "--steps"},
           {"negative class",
            {"sample", "OUT/run", "--out", "OUT/a.png", "--class", "-3"},
            "--class"},
           {"two positions",
            {"sample", "OUT/run", "OUT/other", "--out", "OUT/a.png"},
            "unexpected argument"},
           {"no such kind", {"list", "sampler"}, "did you mean 'samplers'?"},
           {"time without unit", train_toy({"--budget", "10"}), "lacks a unit"},
           {"steps and time", train_toy({"--budget", "10s", "--steps", "3"}), "excludes"},
           {"setting without value", train_toy({"--set", "train.batch"}), "key=value"},
           {"name of no picture",
            {"diffuse", "--data", "toy:two-moons", "--out", "OUT/a.jpeg"},
            ".png"},
           {"name of no samples", {"sample", "OUT/run", "--out", "OUT/a.bmp"}, ".png"},
           {"unknown method", {"evaluate", "OUT/run", "--method", "vbl"}, "did you mean 'vlb'?"},
           {"method of later", {"evaluate", "OUT/run", "--method", "ode"}, "--method vlb"},
           {"unknown device", train_toy({"--steps", "1", "--device", "gpu"}), "device"}})
    check_refused(wrong);
}

TEST_CASE("an impossible configuration is refused before anything is written") {
  for (const Wrong& wrong : std::vector<Wrong>{
           {"T = 0", train_images({"--set", R"(schedule={"name":"linear","steps":0})"}), "steps"},
           {"batch 0", train_toy({"--set", "train.batch=0"}), "train.batch"},
           {"steps 0", train_toy({"--steps", "0"}), "train.steps"},
           {"channels and groups", train_images({"--set", "model.channels=33"}), "33"},
           {"misspelt key", train_toy({"--set", "train.bach=3"}), "did you mean 'batch'?"},
           {"misspelt table", train_toy({"--set", "trian.batch=3"}), "did you mean 'train'?"},
           {"misspelt network", train_toy({"--set", "model.network=unte"}), "did you mean 'unet'?"},
           {"misspelt schedule", train_toy({"--set", "schedule.name=cosin"}), "did you mean"},
           {"wrong type", train_toy({"--set", "train.batch=many"}), "a whole number"},
           {"no such recipe",
            {"train", "--data", "toy:rings", "--recipe", "toy-2", "--out", "OUT/run"},
            "toy-2d"},
           {"no data", {"train", "--out", "OUT/run"}, "--data"}})
    check_refused(wrong);
}

TEST_CASE("missing and foreign files are refused") {
  for (const Wrong& wrong : std::vector<Wrong>{
           {"no such dataset",
            {"train", "--data", "fashion-mnits", "--out", "OUT/run"},
            "did you mean 'fashion-mnist'?"},
           {"no such folder",
            {"train", "--data", "images:/no/such/place", "--out", "OUT/run"},
            "/no/such/place"},
           {"no such toy", {"train", "--data", "toy:two-moon", "--out", "OUT/run"}, "two-moons"},
           {"no such model", {"sample", "OUT/none", "--out", "OUT/a.png"}, "no such file"},
           {"no model to evaluate",
            {"evaluate", "OUT/none", "--data", "toy:rings"},
            "no such file"},
           {"nothing to describe", {"describe", "OUT/none"}, "no such file"},
           {"an empty folder", {"describe", "OUT"}, "not a run"},
           {"a folder is no model", {"sample", "OUT", "--out", "OUT/a.png"}, "checkpoints"},
           {"not a model", {"sample", "/dev/null", "--out", "OUT/a.png"}, "/dev/null"},
           {"run as a file", {"train", "--data", "toy:rings", "--out", "/dev/null"}, "/dev/null"},
           {"page of nothing", {"report", "OUT/none", "--out", "OUT/a.html"}, "config.json"}})
    check_refused(wrong);
}

TEST_CASE("an output that cannot be written is refused before the work") {
  for (const Wrong& wrong : std::vector<Wrong>{
           {"no such folder", {"sample", "OUT", "--out", "OUT/no/a.png"}, "does not exist"},
           {"unwritable folder", {"sample", "OUT", "--out", "/proc/a.png"}, "/proc"},
           {"unwritable run", train_toy({"--steps", "1", "--out", "/proc/run"}), "/proc/run"},
           {"a folder, not a file",
            {"diffuse", "--data", "toy:rings", "--out", "OUT"},
            "folder"}}) {
    Wrong last_out_counts = wrong;
    auto& arguments = last_out_counts.arguments;
    const auto first = std::find(arguments.begin(), arguments.end(), "--out");
    if (std::count(arguments.begin(), arguments.end(), "--out") == 2)
      arguments.erase(first, first + 2);
    check_refused(last_out_counts);
  }
}

TEST_CASE("a full disk is an error, and earlier checkpoints stay whole") {
  const TemporaryFolder folder;
  const std::string disk = folder / "disk";
  fs::create_directory(disk);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=4m") != 0) {
    MESSAGE("skipped: a small disk can only be mounted by root");
    return;
  }
  const std::vector<std::string> train = {"train",       "--data", "toy:two-moons",
                                          "--recipe",    "toy-2d", "--out",
                                          disk + "/run", "--set",  "checkpoint.every=20"};
  auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = train;
    all.insert(all.end(), more.begin(), more.end());
    return run_program(all);
  };
  const Outcome before = with({"--steps", "20"});
  CAPTURE(before.err);
  CHECK(before.status == 0);
  {
    std::ofstream filler(disk + "/filler", std::ios::binary);
    const std::string block(65536, 'x');
    while (filler << block) {
    }
  }
  const Outcome full = with({"--steps", "60", "--resume"});
  CHECK((full.status == 1 || full.status == 2));
  CAPTURE(full.err);
  CHECK(full.err.find("No space left") != std::string::npos);
  CHECK(full.err.find("tweedie: ") != std::string::npos);
  fs::remove(disk + "/filler");
  for (const auto& entry : fs::recursive_directory_iterator(disk))
    CHECK(entry.path().extension() != ".tmp");
  const Outcome after =
      run_program({"sample", disk + "/run", "-n", "4", "--steps", "2", "--out", folder / "a.npy"});
  CAPTURE(after.err);
  CHECK(after.status == 0);
  umount(disk.c_str());
}
