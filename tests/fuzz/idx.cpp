#include "tests/fuzz/fuzz.h"
#include "tweedie/datasets/idx_file.h"

using namespace tweedie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz::run(data, size,
                   [](std::string_view bytes) { read_idx(fuzz::File(bytes).path(), 3); });
}
