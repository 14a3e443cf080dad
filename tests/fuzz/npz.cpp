#include "tweedie/tensor/npy.h"

#include "tests/fuzz/fuzz.h"

using namespace tweedie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz::run(data, size, [](std::string_view bytes) { parse_npz({bytes, nullptr}, "file"); });
}
