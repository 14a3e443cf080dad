#include "tweedie/tensor/image.h"

#include "tests/fuzz/fuzz.h"

using namespace tweedie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz::run(data, size, [](std::string_view bytes) { decode_image(bytes, "file"); });
}
