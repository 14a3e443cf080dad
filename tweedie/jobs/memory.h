// What fits into memory.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>

namespace tweedie {

/// Whether LibTorch, or the program itself, found no memory.
bool is_out_of_memory(const std::exception& error);

/// The largest of count / 2, count / 4, ... with which `work` finds enough memory; 0 if 1 does not.
int64_t largest_that_fits(int64_t count, const std::function<void(int64_t)>& work);

}  // namespace tweedie
