#include "tweedie/datasets/split.h"

#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/tensor/random.h"

namespace tweedie {

Split split_named(const std::string& word, const std::string& where) {
  check(word == "train" || word == "test", where, ": split is \"train\" or \"test\", got '", word,
        "'");
  return word == "train" ? Split::train : Split::test;
}

Split take_split(Json& options, const std::string& where) {
  check(options.is_object(), where, ": expected a table of options, got ", options.dump());
  const auto found = options.find("split");
  if (found == options.end()) return Split::train;
  const Json word = *found;
  options.erase("split");
  return split_named(word.is_string() ? word.get<std::string>() : word.dump(), where);
}

std::vector<int64_t> hold_out(int64_t size, double holdout, Split split, const std::string& where) {
  check(holdout > 0 && holdout < 1, where, ": holdout is a fraction between 0 and 1, got ",
        holdout);
  check(size >= 2, where, ": has ", size, " examples; at least 2 are needed, one of them held out");
  const int64_t held =
      std::clamp<int64_t>(std::llround(holdout * static_cast<double>(size)), 1, size - 1);
  // The seed is fixed: evaluation must not see what another run was trained on.
  const RandomKey key{0, Stream::data};
  std::vector<int64_t> places;
  for (int64_t i = split == Split::test ? 0 : held; i < (split == Split::test ? held : size); ++i)
    places.push_back(permuted_index(key, 0, i, size));
  std::sort(places.begin(), places.end());
  return places;
}

}  // namespace tweedie
