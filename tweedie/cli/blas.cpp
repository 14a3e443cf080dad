#include "tweedie/cli/blas.h"

#include <filesystem>

#include <dlfcn.h>

namespace tweedie {

std::string slow_blas_warning() {
  void* product = dlsym(RTLD_DEFAULT, "sgemm_");
  Dl_info where{};
  if (product == nullptr || dladdr(product, &where) == 0 || where.dli_fname == nullptr) return "";
  std::error_code failure;
  const std::filesystem::path file = std::filesystem::canonical(where.dli_fname, failure);
  // Debian keeps the reference library in a folder called blas, the others in folders of their own.
  if (failure || file.parent_path().filename() != "blas") return "";
  return "warning: matrix products use the reference BLAS (" + file.string() +
         "), some 50 times slower than OpenBLAS; install libopenblas0-openmp "
         "(scripts/install-dependencies.sh)";
}

}  // namespace tweedie
