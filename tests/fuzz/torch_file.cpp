#include "tweedie/tensor/torch_file.h"

#include "tests/fuzz/fuzz.h"

using namespace tweedie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz::run(data, size, [](std::string_view bytes) {
    parse_torch_file({bytes, nullptr}, "file");
  });
}
