#include "tests/fuzz/fuzz.h"
#include "tweedie/datasets/tar_index.h"

using namespace tweedie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz::run(data, size, [](std::string_view bytes) {
    std::vector<TarEntry> images;
    add_tar_images(fuzz::File(bytes).path(), 0, images);
  });
}
