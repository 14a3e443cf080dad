#include "tests/fuzz/fuzz.h"
#include "tweedie/datasets/datasets.h"

using namespace tweedie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz::run(data, size, [](std::string_view bytes) {
    const fuzz::File file(bytes);
    const Dataset data = make_table({{"path", file.path()}});
    data.get({0});
  });
}
