// Which BLAS was loaded.
#pragma once

#include <string>

namespace tweedie {

/// A warning if matrix products go to the reference BLAS, which is some 50 times slower than
/// OpenBLAS; else empty.
std::string slow_blas_warning();

}  // namespace tweedie
