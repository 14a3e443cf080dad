// config.json and scheduler_config.json of other libraries.
#include "tweedie/families/family.h"
#include "tests/fuzz/fuzz.h"
#include "tweedie/base/python_json.h"
#include "tweedie/families/diffusers_scheduler.h"

using namespace tweedie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz::run(data, size, [](std::string_view bytes) {
    const Json json = parse_python_json(std::string(bytes));
    if (json.is_discarded() || !json.is_object()) return;
    if (json.value("_class_name", Json()).is_string() &&
        json["_class_name"].get<std::string>().ends_with("Scheduler"))
      read_scheduler(json);
    else
      read_family(json);
  });
}
