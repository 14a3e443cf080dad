#include "tweedie/datasets/loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include "tweedie/base/error.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

constexpr size_t kAhead = 3;  // batches decoded before they are asked for

/// x [B, C, H, W] with the examples mirrored whose places in the order say so.  By hand: LibTorch's
/// operations would start a second team of threads here, against the training step's.
Tensor mirrored(const Tensor& x, uint64_t seed, int64_t first_place) {
  const Tensor source = x.to(at::kFloat).contiguous();
  const Tensor out = at::empty(source.sizes());
  const int64_t width = x.size(3), values = x.size(1) * x.size(2) * width;
  for (int64_t i = 0; i < x.size(0); ++i) {
    const float* from = source.data_ptr<float>() + i * values;
    float* to = out.data_ptr<float>() + i * values;
    std::copy(from, from + values, to);
    if (keyed_uniform({seed, Stream::flip}, first_place + i, 0) >= 0.5) continue;
    for (float* row = to; row < to + values; row += width) std::reverse(row, row + width);
  }
  return out;
}

}  // namespace

struct Loader::Worker {
  Dataset dataset;
  LoaderOptions options;
  int64_t cursor;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<LoadedBatch> ready;
  std::exception_ptr failure;
  bool stop = false;
  std::thread thread;

  Worker(Dataset data, LoaderOptions given, int64_t first)
      : dataset(std::move(data)), options(given), cursor(first) {
    check(dataset.size >= 1, dataset.name, ": has no examples");
    check(options.batch >= 1 && options.batch <= (int64_t{1} << 32), "batch: at least 1, got ",
          options.batch);
    check(cursor >= 0 && cursor <= std::numeric_limits<int64_t>::max() / 2,
          "the place in the data, ", cursor, ", is out of range; the checkpoint is damaged");
    check(!options.flip || dataset.shape.size() == 3, dataset.name,
          ": only images can be mirrored; set data.flip to false");
    thread = std::thread([this] { work(); });
  }

  ~Worker() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    changed.notify_all();
    thread.join();
  }

  LoadedBatch load() {
    LoadedBatch out;
    for (int64_t place = cursor; place < cursor + options.batch; ++place)
      out.indices.push_back(permuted_index({options.seed, Stream::order}, place / dataset.size,
                                           place % dataset.size, dataset.size));
    out.batch = dataset.get(out.indices);
    check(out.batch.x.defined() && out.batch.x.dim() > 0 && out.batch.x.size(0) == options.batch,
          dataset.name, ": was asked for ", options.batch, " examples and gave another number");
    if (options.flip) out.batch.x = mirrored(out.batch.x, options.seed, cursor);
    cursor += options.batch;
    out.cursor = cursor;
    return out;
  }

  void work() {
    try {
      for (;;) {
        {
          std::unique_lock lock(mutex);
          changed.wait(lock, [this] { return stop || ready.size() < kAhead; });
          if (stop) return;
        }
        LoadedBatch batch = load();
        const std::lock_guard lock(mutex);
        ready.push_back(std::move(batch));
        changed.notify_all();
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
      changed.notify_all();
    }
  }

  LoadedBatch next() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return !ready.empty() || failure; });
    if (ready.empty()) std::rethrow_exception(failure);
    LoadedBatch batch = std::move(ready.front());
    ready.pop_front();
    changed.notify_all();
    return batch;
  }
};

Loader::Loader(Dataset dataset, LoaderOptions options, int64_t cursor)
    : worker_(std::make_unique<Worker>(std::move(dataset), options, cursor)) {}
Loader::~Loader() = default;
LoadedBatch Loader::next() { return worker_->next(); }

}  // namespace tweedie
