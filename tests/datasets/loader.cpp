#include "tweedie/datasets/loader.h"

#include <set>

#include "tests/tensor/bad_input.h"

using namespace tweedie;

namespace {

/// `count` images [1, 1, 3] of the values i, i + 1/4, i + 1/2.
Dataset numbers(int64_t count) {
  Dataset data;
  data.name = "numbers";
  data.size = count;
  data.shape = {1, 1, 3};
  data.get = [](at::ArrayRef<int64_t> indices) {
    const Tensor first = at::tensor(indices, at::kFloat).view({-1, 1, 1, 1});
    return Batch{first + at::tensor({0.0F, 0.25F, 0.5F}), {}};
  };
  return data;
}

}  // namespace

TEST_CASE("every epoch shows every example once, in another order") {
  Loader loader(numbers(20), {.batch = 4, .seed = 3});
  std::vector<std::vector<int64_t>> epochs(3);
  for (std::vector<int64_t>& epoch : epochs) {
    for (int i = 0; i < 5; ++i) {
      const LoadedBatch batch = loader.next();
      epoch.insert(epoch.end(), batch.indices.begin(), batch.indices.end());
    }
    CHECK(std::set<int64_t>(epoch.begin(), epoch.end()).size() == 20);
  }
  CHECK(epochs[0] != epochs[1]);
  CHECK(epochs[1] != epochs[2]);
}

TEST_CASE("a batch may cross an epoch's end, even several") {
  Loader loader(numbers(3), {.batch = 7});
  const LoadedBatch batch = loader.next();
  CHECK(batch.cursor == 7);
  for (const size_t first : {size_t{0}, size_t{3}})
    CHECK(std::set<int64_t>(batch.indices.begin() + static_cast<std::ptrdiff_t>(first),
                            batch.indices.begin() + static_cast<std::ptrdiff_t>(first + 3))
              .size() == 3);
}

TEST_CASE("from any cursor a loader goes on as one that never stopped, mirrored images and all") {
  const LoaderOptions options{.batch = 3, .seed = 5, .flip = true};
  Loader whole(numbers(10), options);
  std::vector<LoadedBatch> batches;
  for (int i = 0; i < 9; ++i) batches.push_back(whole.next());
  for (size_t start = 0; start < 9; ++start) {
    Loader rest(numbers(10), options, static_cast<int64_t>(start) * 3);
    for (size_t i = start; i < 9; ++i) {
      const LoadedBatch batch = rest.next();
      CHECK(batch.cursor == batches[i].cursor);
      CHECK(batch.indices == batches[i].indices);
      CHECK(at::equal(batch.batch.x, batches[i].batch.x));
    }
  }
}

TEST_CASE("the order does not depend on the size of the batches") {
  Loader one(numbers(10), {.batch = 1, .seed = 5, .flip = true});
  Loader five(numbers(10), {.batch = 5, .seed = 5, .flip = true});
  for (int i = 0; i < 4; ++i) {
    const LoadedBatch batch = five.next();
    for (int64_t j = 0; j < 5; ++j) {
      const LoadedBatch single = one.next();
      CHECK(single.indices[0] == batch.indices[static_cast<size_t>(j)]);
      CHECK(at::equal(single.batch.x[0], batch.batch.x[j]));
    }
  }
}

TEST_CASE("half of the images are mirrored, each epoch others; without flip none") {
  Loader loader(numbers(500), {.batch = 500, .seed = 1, .flip = true});
  Loader plain(numbers(500), {.batch = 500, .seed = 1});
  std::set<int64_t> mirrored[2];
  for (std::set<int64_t>& epoch : mirrored) {
    const LoadedBatch batch = loader.next(), same = plain.next();
    CHECK(batch.indices == same.indices);
    for (int64_t i = 0; i < 500; ++i) {
      const Tensor x = batch.batch.x[i], original = same.batch.x[i];
      if (at::equal(x, original.flip(2)))
        epoch.insert(batch.indices[static_cast<size_t>(i)]);
      else
        CHECK(at::equal(x, original));
    }
    CHECK(epoch.size() > 200);  // 250, standard deviation 11
    CHECK(epoch.size() < 300);
  }
  CHECK(mirrored[0] != mirrored[1]);
}

TEST_CASE("what reading the data throws comes out of next, after the batches before it") {
  Dataset data = numbers(10);
  const auto get = data.get;
  data.get = [get, left = std::make_shared<int>(2)](at::ArrayRef<int64_t> indices) {
    check((*left)-- > 0, "a.png: damaged");
    return get(indices);
  };
  Loader loader(data, {.batch = 2});
  CHECK_NOTHROW(loader.next());
  CHECK_NOTHROW(loader.next());
  CHECK_THROWS_WITH_AS(loader.next(), "a.png: damaged", Error);
  CHECK_THROWS_WITH_AS(loader.next(), "a.png: damaged", Error);
}

TEST_CASE("a loader that is never asked ends") {
  for (int i = 0; i < 20; ++i) const Loader loader(numbers(10), {.batch = 2});
}

TEST_CASE("data and options that cannot be loaded from are refused") {
  const auto error = [](const Dataset& data, LoaderOptions options, int64_t cursor = 0) {
    return refusal([&] { Loader(data, options, cursor); });
  };
  CHECK(says(error(numbers(0), {}), "has no examples"));
  CHECK(says(error(numbers(3), {.batch = 0}), "batch: at least 1"));
  CHECK(says(error(numbers(3), {}, -1), "out of range"));
  CHECK(says(error(numbers(3), {}, std::numeric_limits<int64_t>::max()), "out of range"));
  Dataset points = numbers(3);
  points.shape = {2};
  CHECK(says(error(points, {.flip = true}), "only images can be mirrored"));
  Dataset wrong = numbers(3);
  wrong.get = [](at::ArrayRef<int64_t>) { return Batch{at::zeros({1, 1, 1, 3}), {}}; };
  Loader loader(wrong, {.batch = 2});
  CHECK(says(refusal([&] { loader.next(); }), "gave another number"));
}
