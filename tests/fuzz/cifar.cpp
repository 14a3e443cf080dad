// A folder whose batches and names of classes are all the same bytes.
#include <filesystem>

#include "tests/fuzz/fuzz.h"
#include "tweedie/datasets/datasets.h"

using namespace tweedie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::Folder folder;
  static const bool linked = [] {
    for (const char* name :
         {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
          "data_batch_5.bin", "test_batch.bin", "batches.meta.txt"})
      std::filesystem::create_symlink("bytes", folder / name);
    return true;
  }();
  return fuzz::run(data, size, [](std::string_view bytes) {
    folder.put("bytes", bytes);
    if (linked) make_cifar({{"path", folder.path()}}).get({0});
  });
}
