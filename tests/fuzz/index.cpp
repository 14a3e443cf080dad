// The index of a model in shards, beside one shard.
#include "tests/fuzz/fuzz.h"
#include "tweedie/jobs/foreign_model.h"

using namespace tweedie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::Folder folder;
  static const bool beside = [] {
    write_safetensors(folder / "a.safetensors", {{{"x", at::zeros({2})}}, {}});
    return true;
  }();
  return fuzz::run(data, size, [](std::string_view bytes) {
    folder.put("model.index.json", bytes);
    if (beside) read_weights(folder / "model.index.json");
  });
}
