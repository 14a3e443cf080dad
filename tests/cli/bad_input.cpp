// Whatever is wrong with what the user typed or gave: one line that says so, exit status 2, nothing
// left behind.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <sys/mount.h>
#include <unistd.h>

#include "tests/cli/run_program.h"
#include "tweedie/base/files.h"

using namespace tweedie::test;

namespace {

namespace fs = std::filesystem;

struct Wrong {
  const char* what;
  std::vector<std::string> arguments;
  std::string says;  // part of the message
};

/// OUT in an argument becomes a name inside the folder.
void check_refused(const Wrong& wrong) {
  INFO(std::string(wrong.what));
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
           {"name of no chart", {"compare-samplers", "OUT/run", "--plot", "OUT/a.gif"}, ".svg"},
           {"not budgets", {"compare-samplers", "OUT/run", "--evaluations", "5,ten"}, "ten"},
           {"unknown method", {"evaluate", "OUT/run", "--method", "vbl"}, "did you mean 'vlb'?"},
           {"nothing to compare", {"metrics"}, "nothing to compare"},
           {"samples without data", {"metrics", "OUT/a.npy"}, "--data"},
           {"no samples", {"metrics", "OUT/a.npy", "--data", "toy:two-moons"}, "a.npy"},
           {"unknown peer", {"evaluate", "OUT/run", "--compat", "score-sde"}, "'score_sde'"},
           {"peer by another method",
            {"evaluate", "OUT/run", "--compat", "score_sde", "--method", "vlb"},
            "--method ode"},
           {"shard of none", {"evaluate", "OUT/run", "--shard", "3/2", "--json", "-"}, "i/n"},
           {"shard without a file", {"evaluate", "OUT/run", "--shard", "1/2"}, "--json"},
           {"no paths",
            {"evaluate", "OUT/run", "--paths", "0"},
            "--paths: expected a number above 0, got 0"},
           {"no budget", {"evaluate", "OUT/run", "--max-evaluations", "0"}, "--max-evaluations"},
           {"no dimensions", {"evaluate", "OUT/run", "--exact-limit", "0"}, "--exact-limit"},
           {"draws of a word", {"evaluate", "OUT/run", "--dequantisation", "some"}, "none"},
           {"numbers in no file", {"evaluate", "OUT/run", "--per-example", "OUT/a.txt"}, ".csv"},
           {"a value in no picture", {"evaluate", "OUT/run", "--plot", "OUT/a.gif"}, ".svg"},
           {"a merged value in no picture",
            {"evaluate", "--merge", "OUT/part.json", "--plot", "OUT/a.pdf"},
            "a.pdf: the name must end in .svg or .png"},
           {"an option of another method",
            {"evaluate", "OUT/run", "--method", "ais", "--terms", "3"},
            "it is for vlb"},
           {"an option of the bound, by the flow",
            {"evaluate", "OUT/run", "--method", "ode", "--variance", "large"},
            "it is for vlb and ais"},
           {"an option that a peer fixes",
            {"evaluate", "OUT/run", "--compat", "score_sde", "--probes", "9"},
            "--compat score_sde has its own"},
           {"a merge with a method",
            {"evaluate", "--merge", "OUT/part.json", "--method", "vlb"},
            "says nothing to --merge"},
           {"a tolerance that is no number",
            {"evaluate", "OUT/run", "--method", "ode", "--tolerance", "nan"},
            "--tolerance"},
           {"evaluate nothing", {"evaluate"}, "name the model"},
           {"a sampler to train with", {"bench", "train", "--sampler", "ddim"}, "bench sample"},
           {"an option of no sampler", {"bench", "sample", "--set", "eta=1"}, "--sampler NAME"},
           {"steps of no sampler", {"bench", "sample", "--steps", "5"}, "--sampler NAME"},
           {"threads without end", {"bench", "train", "--threads", "99999999999"}, "1 to 4096"},
           {"a negative seed of samples",
            {"sample", "OUT/run", "--out", "OUT/a.png", "--seed", "-1"},
            "--seed"},
           {"a negative seed of an evaluation", {"evaluate", "OUT/run", "--seed", "-1"}, "--seed"},
           {"a negative seed of a run", train_toy({"--seed", "-1"}), "--seed"},
           {"nothing to train", {"bench", "train", "--net", "none"}, "bench sample"},
           {"a misspelt sampler to time",
            {"bench", "sample", "--net", "mlp-2d", "--sampler", "dimm"},
            "did you mean 'ddim'?"},
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
           {"no model to compare with", {"compare-samplers", "OUT/none"}, "no such file"},
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

TEST_CASE("files that are not what they should be are refused") {
  const TemporaryFolder given;
  const auto put = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(given / name, std::ios::binary) << bytes;
    return given / name;
  };
  const std::string header("\0\0\x08\3\0\0\0\x09\0\0\0\2\0\0\0\2", 16);  // 9 images of 2 x 2
  const std::string empty = put("empty", ""), text = put("text", "not what it says"),
                    cut = put("cut-idx3-ubyte", header + "abc"),
                    huge = put("huge-idx3-ubyte", header.substr(0, 4) + std::string(12, '\xff')),
                    toml = put("broken.toml", "[train\n"),
                    nested = put("nested.toml", "a = " + std::string(50000, '[')),
                    model = put("a.safetensors", std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
  fs::create_directory(given / "pictures");
  put("pictures/a.png", "no picture");
  const auto train = [](const std::string& spec) {
    return std::vector<std::string>{"train", "--data", spec, "--out", "OUT/run"};
  };
  const auto recipe = [](const std::string& path) {
    return std::vector<std::string>{"train",   "--data",   "toy:rings", "--out",
                                    "OUT/run", "--recipe", path};
  };
  const auto sample = [](const std::string& path) {
    return std::vector<std::string>{"sample", path, "--out", "OUT/a.png"};
  };
  for (const Wrong& wrong : std::vector<Wrong>{
           {"an empty IDX file", train("idx:" + empty), "is empty"},
           {"a text as IDX", train("idx:" + text), "magic number"},
           {"a truncated IDX file", train("idx:" + cut), "truncated"},
           {"an IDX file of 2^96 bytes", train("idx:" + huge), "more than 8 GiB"},
           {"no picture", train("images:" + (given / "pictures")), "neither a PNG nor a JPEG"},
           {"a broken recipe", recipe(toml), "line 1"},
           {"a recipe without end", recipe(nested), "not valid TOML"},
           {"a folder as recipe", recipe(given.path()), "neither a file nor a recipe"},
           {"an empty model", sample(empty), "at least 8"},
           {"a text as model", sample(text), "truncated"},
           {"tensors of something else", sample(model), "is a file of weights alone"},
           {"a text to describe", {"describe", text}, "text"}})
    check_refused(wrong);
}

TEST_CASE("what a class or a batch cannot be is refused by number") {
  // Images of 4 x 4 in three classes, and a U-Net of them, trained for two steps.
  const TemporaryFolder given;
  const auto put = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(given / name, std::ios::binary) << bytes;
  };
  put("train-images-idx3-ubyte",
      std::string("\0\0\x08\3\0\0\0\x0c\0\0\0\4\0\0\0\4", 16) + std::string(12 * 16, 'x'));
  put("train-labels-idx1-ubyte", std::string("\0\0\x08\1\0\0\0\x0c\0\1\2\0\1\2\0\1\2\0\1\2", 20));
  const Outcome trained = run_program(
      {"train", "--data", "idx:" + (given / "train-images-idx3-ubyte"), "--recipe", "fashion-mnist",
       "--steps", "2", "--set", "data.conditional=true", "--set", "model.channels=8", "--set",
       "model.multipliers=[1,1]", "--set", "train.batch=2", "--out", given / "run"});
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 4, 4), }";
  header.resize(118, ' ');
  put("noise.npy", std::string("\x93NUMPY\1\0\x76\0", 10) + header + std::string(128, '\0'));
  const auto sample = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"sample", given / "run", "--out", "OUT/a.png"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  const auto compare = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"compare-samplers", given / "run", "--plot", "OUT/a.svg"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  for (const Wrong& wrong : std::vector<Wrong>{
           {"a misspelt solver", compare({"--samplers", "ddim,huen"}), "did you mean 'heun'?"},
           {"no evaluations", compare({"--evaluations", "0"}), "from 1 to 100000"},
           {"a reference too coarse",
            compare({"--evaluations", "10,20", "--reference-evaluations", "30"}),
            "pass 40 or more"},
           {"a misspelt path", compare({"--path", "karas"}), "did you mean 'karras'?"},
           {"nothing that can be run", compare({"--samplers", "dpm-adaptive"}), "its own steps"},
           {"a class that is not there", compare({"--class", "3"}), "out of range"},
           {"nothing to compare", compare({"-n", "0"}), "1 or more"},
           {"a batch of nothing", compare({"--batch", "0"}), "1 or more"},
           {"a reference without end", compare({"--reference-evaluations", "9000000000000000000"}),
            "1000000 or fewer"},
           {"a class after the last", sample({"--class", "3"}), "class 3 is out of range"},
           {"a class far away", sample({"--class", "4611686018427387904"}), "out of range"},
           {"no samples", sample({"-n", "0"}), "1 or more"},
           {"another number than there is noise of",
            sample({"-n", "3", "--noise", given / "noise.npy"}), "has 2 rows"},
           {"no steps", sample({"--steps", "0"}), "--steps"},
           {"negative steps", sample({"--steps", "-5"}), "--steps"},
           {"no batch", sample({"--batch", "0"}), "batch"}})
    check_refused(wrong);
  const Outcome last = run_program({"sample", given / "run", "--class", "2", "-n", "2", "--steps",
                                    "2", "--out", given / "a.png"});
  CHECK_MESSAGE(last.status == 0, last.err);
}

TEST_CASE("training that diverges says what to do and is no success") {
  const TemporaryFolder folder;
  const Outcome outcome = run_program({"train", "--data", "toy:two-moons", "--recipe", "toy-2d",
                                       "--steps", "20", "--set", "train.learning_rate=1e38",
                                       "--set", "train.warmup=0", "--out", folder / "run"});
  CAPTURE(outcome.err);
  CHECK(outcome.status == 1);
  CHECK(outcome.err.find("stopped: not finite again after 3 roll-backs") != std::string::npos);
  CHECK(outcome.err.find("Lower train.learning_rate") != std::string::npos);
  CHECK(outcome.out.find("trained") == std::string::npos);
}

namespace {

/// A small disk of its own, or nothing where the process may not mount one.
class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {
    fs::create_directory(path_);
    mounted_ = mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=16m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  /// Leaves `bytes` free.
  void fill_but(uintmax_t bytes) const {
    std::ofstream filler(path_ + "/filler", std::ios::binary);
    const std::string block(4096, 'x');
    while (filler.flush() && fs::space(path_).available >= bytes + block.size()) filler << block;
  }
  void empty() const { fs::remove(path_ + "/filler"); }

 private:
  std::string path_;
  bool mounted_;
};

}  // namespace

TEST_CASE("a disk that is full while saving is an error, and earlier checkpoints stay whole") {
  const TemporaryFolder folder;
  const std::string run = folder / "disk/run";
  const SmallDisk disk(folder / "disk");
  if (!disk.mounted()) {
    MESSAGE("skipped: a small disk can only be mounted by root");
    return;
  }
  const auto train = [&](std::vector<std::string> more) {
    std::vector<std::string> all = {"train",
                                    "--data",
                                    "toy:two-moons",
                                    "--recipe",
                                    "toy-2d",
                                    "--out",
                                    run,
                                    "--set",
                                    "checkpoint.every=20",
                                    "--set",
                                    "watch.log_every=10"};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(all);
  };
  const Outcome before = train({"--steps", "20"});
  REQUIRE_MESSAGE(before.status == 0, before.err);
  const std::string newest = run + "/checkpoints/step-000000020.safetensors",
                    bytes = tweedie::read_file(newest);
  REQUIRE(bytes.size() > 1'000'000);
  // Without a byte, where beginning fails; and with room for lines but not for a checkpoint, where
  // saving at step 40 fails.
  for (const uintmax_t room : {uintmax_t{0}, uintmax_t{200'000}}) {
    CAPTURE(room);
    disk.fill_but(room);
    const Outcome full = train({"--steps", "60", "--resume"});
    CAPTURE(full.err);
    CHECK((full.status == 1 || full.status == 2));
    const size_t message = full.err.find("tweedie: ");
    REQUIRE(message != std::string::npos);
    CHECK(full.err.find("No space left") != std::string::npos);
    CHECK(line_count(full.err.substr(message)) == 1);
    if (room > 0) CHECK(full.err.find("step-000000040") != std::string::npos);
    CHECK(tweedie::read_file(newest) == bytes);
    for (const std::string& file : folder.files()) {
      CHECK(!file.ends_with(".partial"));
      CHECK(file.find("step-000000040") == std::string::npos);
    }
    disk.empty();
  }
  const Outcome after = train({"--steps", "60", "--resume"});
  CHECK_MESSAGE(after.status == 0, after.err);
  CHECK(after.err.find("from step 20") != std::string::npos);
}
