// Datasets of NumPy's arrays and of CIFAR's files.
#include <fstream>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/base/error.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/tensor/npy.h"

using namespace tweedie;

namespace {

Json array_of(const std::string& path, const Json& more = Json::object()) {
  Json options = {{"path", path}};
  options.update(more);
  return options;
}

std::string fault(const Json& options) {
  return refusal([&] { make_array(options); });
}

}  // namespace

TEST_CASE("arrays of every layout become vectors, images or series") {
  const Scratch folder;
  struct Case {
    std::vector<int64_t> sizes;
    at::ScalarType type;
    Json options;
    std::vector<int64_t> shape;
    int64_t levels;
  };
  const std::vector<Case> cases = {{{20, 5}, at::kFloat, Json::object(), {5}, 0},
                                   {{20, 6, 7}, at::kByte, Json::object(), {1, 6, 7}, 256},
                                   {{20, 3, 6, 7}, at::kByte, Json::object(), {3, 6, 7}, 256},
                                   {{20, 6, 7, 3}, at::kByte, Json::object(), {3, 6, 7}, 256},
                                   {{20, 9}, at::kFloat, {{"layout", "series"}}, {1, 1, 9}, 0},
                                   {{20, 2, 9}, at::kDouble, Json::object(), {2, 1, 9}, 0},
                                   {{20, 4, 4, 4}, at::kFloat, Json::object(), {4, 4, 4}, 0},
                                   {{20}, at::kDouble, Json::object(), {1}, 0},
                                   {{20, 2, 3, 4, 5}, at::kFloat, Json::object(), {2, 3, 4, 5}, 0},
                                   {{20, 6, 7}, at::kByte, {{"layout", "vector"}}, {6, 7}, 256}};
  for (const Case& c : cases) {
    const at::Tensor values = at::arange(c10::multiply_integers(c.sizes)).remainder(200).to(c.type);
    write_npy(folder / "a.npy", values.view(c.sizes));
    const Dataset data = make_array(array_of(folder / "a.npy", c.options));
    CHECK(data.shape == c.shape);
    CHECK(data.levels == c.levels);
    CHECK(data.size == 18);
    CHECK(data.get({0, 3}).x.sizes().slice(1) == at::IntArrayRef(c.shape));
  }
}

TEST_CASE("values, channels at the end and labels are those of the file") {
  const Scratch folder;
  const at::Tensor pixels =
      at::arange(10 * 5 * 6 * 3).remainder(256).to(at::kByte).view({10, 5, 6, 3});
  write_npz(folder / "a.npz", {{"x", pixels}, {"y", at::arange(10).remainder(3)}, {"z", pixels}});
  Json options = array_of(folder / "a.npz", {{"key", "x"}, {"labels", "y"}});
  options["test"] = "z";
  options["test_labels"] = "y";
  for (const char* split : {"train", "test"}) {
    options["split"] = split;
    const Dataset data = make_array(options);
    REQUIRE(data.size == 10);
    CHECK(data.classes.size() == 3);
    const Batch batch = data.get({7, 1});
    const at::Tensor expected = pixels[7].permute({2, 0, 1}).to(at::kFloat) * 2 / 255 - 1;
    CHECK(at::allclose(batch.x[0], expected, 0, 1e-6));
    CHECK(batch.condition.label[0].item<int64_t>() == 1);
  }
  CHECK(says(fault(array_of(folder / "a.npz")), "holds 3 arrays (x, y, z)"));
  CHECK(says(fault(array_of(folder / "a.npz", {{"key", "w"}})), "no array 'w'"));
}

TEST_CASE("arrays that cannot be data say why") {
  const Scratch folder;
  write_npy(folder / "number.npy", at::scalar_tensor(4));
  CHECK(says(fault(array_of(folder / "number.npy")), "[]; expected examples"));
  write_npy(folder / "none.npy", at::zeros({3, 0}));
  CHECK(says(fault(array_of(folder / "none.npy")), "[3,0]; expected examples"));
  write_npy(folder / "a.npy", at::zeros({4, 3}));
  CHECK(says(fault(array_of(folder / "a.npy", {{"layout", "image"}})), "layout=image is for"));
  CHECK(says(fault(array_of(folder / "a.npy", {{"layout", "cube"}})), "got 'cube'"));
  CHECK(says(fault(array_of(folder / "a.txt")), "ends in .npy or .npz"));
  write_npy(folder / "nan.npy", at::full({4, 3}, std::nan("")));
  const Dataset data = make_array(array_of(folder / "nan.npy"));
  CHECK(says(refusal([&] { data.get({0}); }), "infinite or no number"));
  CHECK(says(refusal([&] { data.get({9}); }), "there is no example 9"));
}

TEST_CASE("CIFAR-10's binary files are read, and their names") {
  const Scratch folder;
  for (int i = 1; i <= 5; ++i) {
    std::string rows;
    for (int j = 0; j < 2; ++j)
      rows += static_cast<char>(j + i) + std::string(3072, static_cast<char>(i));
    put(folder / ("data_batch_" + std::to_string(i) + ".bin"), rows);
  }
  put(folder / "test_batch.bin", '\2' + std::string(3072, '\x7f'));
  std::string names;
  for (int i = 0; i < 10; ++i) names += "class" + std::to_string(i) + "\n";
  put(folder / "batches.meta.txt", names + "\n");
  const Dataset train = make_cifar({{"path", folder / "."}});
  CHECK(train.size == 10);
  CHECK(train.shape == std::vector<int64_t>{3, 32, 32});
  CHECK(train.classes[3] == "class3");
  const Batch batch = train.get({9});
  CHECK(batch.condition.label.item<int64_t>() == 6);
  CHECK(batch.x.max().item<float>() == doctest::Approx(2.0 * 5 / 255 - 1));
  CHECK(make_cifar({{"path", folder / "."}, {"split", "test"}}).size == 1);
  put(folder / "data_batch_3.bin", "short");
  CHECK(says(refusal([&] {
               make_cifar({{"path", folder / "."}});
             }),
             "data_batch_3.bin: has 5 bytes; expected a multiple of 3073"));
}
