// Python's pickles, read without executing anything.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace tweedie {

/// What a pickle may hold here.
struct PickleValue {
  enum class Kind {
    none,
    truth,
    integer,
    number,
    text,
    list,
    tuple,
    dictionary,  // keys and values in turn
    global,      // text, in module
    persistent,  // items[0]: what identifies it
    call,        // items[0]: a global, items[1]: a tuple of arguments
    mark,        // between the reader's own values only
  };
  Kind kind = Kind::none;
  int64_t integer = 0;  // and of a truth value
  double number = 0;
  std::string_view text, module;              // a part of the pickle
  std::vector<PickleValue>* items = nullptr;  // shared, as Python's objects are; may hold itself
};

struct Pickle {
  PickleValue value;
  std::deque<std::vector<PickleValue>> items;  // of all values
};

/// The value of a pickle of protocols 2 to 5.  Calls and globals come out as such: whoever reads
/// them decides which of them mean something.  Throws Error, naming `where` and the byte, on what
/// is not a pickle or makes objects in ways that no file of tensors needs.  What it allocates is at
/// most 300 times the pickle's length.
Pickle parse_pickle(std::string_view bytes, const std::string& where);

}  // namespace tweedie
