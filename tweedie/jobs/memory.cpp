#include "tweedie/jobs/memory.h"

#include <new>
#include <string>

namespace tweedie {

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) return true;
  const std::string text = error.what();  // LibTorch has no type for it before 2.0
  return text.find("can't allocate memory") != std::string::npos ||
         text.find("out of memory") != std::string::npos;
}

int64_t largest_that_fits(int64_t count, const std::function<void(int64_t)>& work) {
  for (int64_t fewer = count / 2; fewer >= 1; fewer /= 2) try {
      work(fewer);
      return fewer;
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error)) throw;
    }
  return 0;
}

}  // namespace tweedie
