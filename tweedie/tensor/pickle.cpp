#include "tweedie/tensor/pickle.h"

#include <cstring>
#include <map>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

using Value = PickleValue;
using Kind = PickleValue::Kind;
using Items = std::vector<PickleValue>;

Value of_kind(Kind kind) {
  Value out;
  out.kind = kind;
  return out;
}

Value integer(int64_t value) {
  Value out = of_kind(Kind::integer);
  out.integer = value;
  return out;
}

Value truth(bool value) {
  Value out = of_kind(Kind::truth);
  out.integer = value;
  return out;
}

Value text(Kind kind, std::string_view value) {
  Value out = of_kind(kind);
  out.text = value;
  return out;
}

/// The stack machine of Python's pickletools.py, less what builds objects of other classes.
class Machine {
 public:
  Machine(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  Pickle run() {
    while (!finished_) {
      start_ = at_;
      const auto code = static_cast<unsigned char>(take(1)[0]);
      if (!constant(code) && !collection(code) && !memory(code) && !object(code))
        fail("operation " + std::to_string(code) +
             " is not one that files of tensors need; in Python, save model.state_dict() alone");
    }
    Pickle out;
    out.value = pop();
    out.items = std::move(items_);
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(where_ + ": byte " + std::to_string(start_) + " of its pickle: " + what);
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) fail("it ends within an operation");
    const std::string_view out = bytes_.substr(at_, count);
    at_ += count;
    return out;
  }
  uint64_t number(size_t width) {
    const std::string_view part = take(width);
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;) value = value << 8 | static_cast<unsigned char>(part[i]);
    return value;
  }
  std::string_view line() {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) fail("a line does not end");
    const std::string_view out = take(end - at_);
    ++at_;
    return out;
  }
  int64_t long_integer() {
    const std::string_view part = take(number(1));
    if (part.size() > 8) fail("an integer of more than 64 bits");
    uint64_t value = !part.empty() && static_cast<signed char>(part.back()) < 0 ? ~uint64_t{0} : 0;
    for (size_t i = part.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(part[i]);
    return static_cast<int64_t>(value);
  }
  double binary_float() {
    uint64_t bits = 0;
    for (const char byte : take(8)) bits = bits << 8 | static_cast<unsigned char>(byte);
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  Value with_items(Kind kind, Items items) {
    Value out = of_kind(kind);
    out.items = &items_.emplace_back(std::move(items));
    return out;
  }
  void push(Value value) { stack_.push_back(value); }
  Value pop() {
    if (stack_.empty() || stack_.back().kind == Kind::mark)
      fail("it takes a value that is not there");
    const Value out = stack_.back();
    stack_.pop_back();
    return out;
  }
  Value& top(Kind kind, const char* what) {
    if (stack_.empty() || stack_.back().kind != kind) fail(std::string("expected ") + what);
    return stack_.back();
  }
  Items pop_to_mark() {
    size_t mark = stack_.size();
    while (mark > 0 && stack_[mark - 1].kind != Kind::mark) --mark;
    if (mark == 0) fail("it goes back to a mark that is not there");
    Items out(stack_.begin() + static_cast<std::ptrdiff_t>(mark), stack_.end());
    stack_.resize(mark - 1);
    return out;
  }
  Value tuple_of(size_t count) {
    Items items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return with_items(Kind::tuple, std::move(items));
  }
  void append(const Items& items) {
    Items& list = *top(Kind::list, "a list to add to").items;
    list.insert(list.end(), items.begin(), items.end());
  }
  void set(const Items& items) {
    if (items.size() % 2 != 0) fail("a key without a value");
    // An OrderedDict is a call, which then gets its items.
    const bool ordered = !stack_.empty() && stack_.back().kind == Kind::call;
    Items& target =
        ordered ? *stack_.back().items : *top(Kind::dictionary, "a dictionary to add to").items;
    target.insert(target.end(), items.begin(), items.end());
  }

  bool constant(unsigned char code) {
    switch (code) {
      case 0x80:  // PROTO
        if (const uint64_t protocol = number(1); protocol < 2 || protocol > 5)
          fail("protocol " + std::to_string(protocol) + "; 2 to 5 are read");
        return true;
      case 0x95:  // FRAME
        return number(8), true;
      case 'N':
        return push({}), true;
      case 0x88:
        return push(truth(true)), true;
      case 0x89:
        return push(truth(false)), true;
      case 'K':
        return push(integer(static_cast<int64_t>(number(1)))), true;
      case 'M':
        return push(integer(static_cast<int64_t>(number(2)))), true;
      case 'J':
        return push(integer(static_cast<int32_t>(number(4)))), true;
      case 0x8a:
        return push(integer(long_integer())), true;
      case 'G': {
        Value value = of_kind(Kind::number);
        value.number = binary_float();
        return push(value), true;
      }
      case 0x8c:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING
      case 'C':   // SHORT_BINBYTES
        return push(text(Kind::text, take(number(1)))), true;
      case 'X':  // BINUNICODE
      case 'T':  // BINSTRING
      case 'B':  // BINBYTES
        return push(text(Kind::text, take(number(4)))), true;
      case 0x8d:  // BINUNICODE8
        return push(text(Kind::text, take(number(8)))), true;
      default:
        return false;
    }
  }

  bool collection(unsigned char code) {
    switch (code) {
      case '(':
        return push(of_kind(Kind::mark)), true;
      case ')':
        return push(with_items(Kind::tuple, {})), true;
      case 't':
        return push(with_items(Kind::tuple, pop_to_mark())), true;
      case 0x85:
      case 0x86:
      case 0x87:
        return push(tuple_of(code - 0x84u)), true;
      case ']':
        return push(with_items(Kind::list, {})), true;
      case 'a':
        return append_one(), true;
      case 'e':
        return append(pop_to_mark()), true;
      case '}':
        return push(with_items(Kind::dictionary, {})), true;
      case 's':
        return set_one(), true;
      case 'u':
        return set(pop_to_mark()), true;
      default:
        return false;
    }
  }

  bool memory(unsigned char code) {
    switch (code) {
      case 'q':
        return remember(number(1)), true;
      case 'r':
        return remember(number(4)), true;
      case 0x94:  // MEMOIZE
        return remember(memo_.size()), true;
      case 'h':
        return recall(number(1)), true;
      case 'j':
        return recall(number(4)), true;
      default:
        return false;
    }
  }

  bool object(unsigned char code) {
    switch (code) {
      case 'c': {  // GLOBAL
        Value global = of_kind(Kind::global);
        global.module = line();
        global.text = line();
        return push(global), true;
      }
      case 0x93: {  // STACK_GLOBAL
        const Value name = pop(), module = pop();
        if (name.kind != Kind::text || module.kind != Kind::text) fail("a global without a name");
        Value global = name;
        global.kind = Kind::global;
        global.module = module.text;
        return push(global), true;
      }
      case 'R': {  // REDUCE
        const Value arguments = pop(), function = pop();
        if (function.kind != Kind::global || arguments.kind != Kind::tuple)
          fail("it calls what is not a function by name");
        return push(with_items(Kind::call, {function, arguments})), true;
      }
      case 'Q':  // BINPERSID
        return push(with_items(Kind::persistent, {pop()})), true;
      case 'b':  // BUILD: attributes, of which none matters to tensors
        pop();
        if (stack_.empty() || stack_.back().kind != Kind::call)
          fail("it sets attributes of what is not an object");
        return true;
      case '.':
        return finished_ = true;
      default:
        return false;
    }
  }

  void append_one() {
    const Value value = pop();
    append({value});
  }
  void set_one() {
    const Value value = pop(), key = pop();
    set({key, value});
  }
  void remember(uint64_t place) {
    if (stack_.empty() || stack_.back().kind == Kind::mark) fail("it remembers nothing");
    memo_[place] = stack_.back();
  }
  void recall(uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) fail("it recalls what it has not remembered");
    push(found->second);
  }

  std::string_view bytes_;
  const std::string& where_;
  size_t at_ = 0, start_ = 0;
  bool finished_ = false;
  std::deque<Items> items_;
  Items stack_;
  std::map<uint64_t, Value> memo_;
};

}  // namespace

Pickle parse_pickle(std::string_view bytes, const std::string& where) {
  return Machine(bytes, where).run();
}

}  // namespace tweedie
