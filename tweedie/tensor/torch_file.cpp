#include "tweedie/tensor/torch_file.h"

#include <map>

#include "tweedie/base/error.h"
#include "tweedie/base/json.h"
#include "tweedie/base/mapped_file.h"
#include "tweedie/tensor/pickle.h"
#include "tweedie/tensor/zip.h"

namespace tweedie {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMaxTorchDimensions = 64, kMaxDepth = 32;
// What values and their names may cost, for each byte of the pickle: shared values can stand for
// more than its length.
constexpr size_t kMaxCost = 64, kEntryCost = 100, kTensorCost = 1500;

struct Storage {
  const char* name;
  at::ScalarType type;
};
constexpr Storage kStorages[] = {{"FloatStorage", at::kFloat}, {"DoubleStorage", at::kDouble},
                                 {"HalfStorage", at::kHalf},   {"BFloat16Storage", at::kBFloat16},
                                 {"LongStorage", at::kLong},   {"IntStorage", at::kInt},
                                 {"ShortStorage", at::kShort}, {"CharStorage", at::kChar},
                                 {"ByteStorage", at::kByte},   {"BoolStorage", at::kBool}};

bool is_global(const PickleValue& value, std::string_view module, std::string_view name) {
  return value.kind == Kind::global && value.module == module && value.text == name;
}

/// Turns the pickle's value into tensors by name.
class Converter {
 public:
  Converter(const OwnedBytes& file, std::string where) : file_(file), where_(std::move(where)) {
    for (ZipEntry& entry : zip_entries(file.bytes, where_)) {
      const size_t slash = entry.name.find('/');
      check(slash != std::string::npos, where_, ": '", entry.name.substr(0, 100),
            "' is in no folder; not a checkpoint of PyTorch");
      check(entries_.emplace(entry.name.substr(slash + 1), entry).second, where_, ": '",
            entry.name.substr(slash + 1, 100), "' is there in two folders");
    }
    check(entries_.contains("data.pkl"), where_,
          ": an archive without data.pkl; not a checkpoint of PyTorch");
    if (const auto order = entries_.find("byteorder"); order != entries_.end())
      check(order->second.stored == "little", where_, ": has byte order '",
            order->second.stored.substr(0, 20), "'; only little is read");
  }

  TensorFile convert() {
    const ZipEntry& entry = entries_.at("data.pkl");
    std::string grown;
    if (entry.deflated)
      grown = inflated(entry, where_);
    else
      check_stored(entry, where_);
    const std::string_view bytes = entry.deflated ? std::string_view(grown) : entry.stored;
    const Pickle pickle = parse_pickle(bytes, where_);
    cost_left_ = kMaxCost * (bytes.size() + 1000);
    add("", pickle.value, 0);
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& name, const std::string& what) const {
    throw Error(where_ + ": '" + name.substr(0, 200) + "': " + what);
  }

  void add(const std::string& name, const PickleValue& value, size_t depth) {
    if (depth > kMaxDepth) fail(name, "its values are nested too deeply");
    pay(name, 1 + name.size());
    switch (value.kind) {
      case Kind::none:
      case Kind::mark:
        return;
      case Kind::truth:
        return add_text(name, value.integer != 0 ? "true" : "false");
      case Kind::integer:
        return add_text(name, std::to_string(value.integer));
      case Kind::number:
        return add_text(name, Json(value.number).dump());
      case Kind::text:
        return add_text(name, std::string(value.text.substr(0, 1000)));
      case Kind::list:
      case Kind::tuple:
        for (size_t i = 0; i < value.items->size(); ++i)
          add(below(name, std::to_string(i)), (*value.items)[i], depth + 1);
        return;
      case Kind::dictionary:
        return add_pairs(name, *value.items, 0, depth);
      case Kind::call:
        return add_call(name, value, depth);
      case Kind::global:
        refuse(name, value);
      case Kind::persistent:
        fail(name, "a storage that is no part of a tensor");
    }
  }

  void pay(const std::string& name, size_t cost) {
    if (cost > cost_left_) fail(name, "its values are nested too deeply");
    cost_left_ -= cost;
  }

  static std::string below(const std::string& name, std::string_view key) {
    return (name.empty() ? "" : name + ".") + std::string(key);
  }

  void add_text(const std::string& name, const std::string& text) {
    pay(name, kEntryCost + text.size());
    out_.metadata[name.empty() ? "value" : name] = text;
  }

  void add_pairs(const std::string& name, const std::vector<PickleValue>& items, size_t first,
                 size_t depth) {
    for (size_t i = first; i + 1 < items.size(); i += 2) {
      const PickleValue& key = items[i];
      if (key.kind == Kind::text)
        add(below(name, key.text.substr(0, 500)), items[i + 1], depth + 1);
      else if (key.kind == Kind::integer)
        add(below(name, std::to_string(key.integer)), items[i + 1], depth + 1);
      else
        fail(name, "a dictionary's key is neither a text nor an integer");
    }
  }

  [[noreturn]] void refuse(const std::string& name, const PickleValue& global) const {
    fail(name, "names the Python object '" + std::string(global.module.substr(0, 100)) + "." +
                   std::string(global.text.substr(0, 100)) +
                   "'; only tensors, parameters, dictionaries, lists, numbers and texts are read, "
                   "and nothing is executed. In Python, save model.state_dict() alone");
  }

  void add_call(const std::string& name, const PickleValue& call, size_t depth) {
    const std::vector<PickleValue>& items = *call.items;
    const PickleValue& function = items[0];
    if (is_global(function, "collections", "OrderedDict")) {
      if (!items[1].items->empty()) fail(name, "an OrderedDict with arguments");
      return add_pairs(name, items, 2, depth);
    }
    const std::vector<PickleValue>& arguments = *items[1].items;
    if (is_global(function, "torch._utils", "_rebuild_parameter") ||
        is_global(function, "torch._utils", "_rebuild_parameter_with_state")) {
      if (arguments.empty()) fail(name, "a parameter without a tensor");
      return add(name, arguments[0], depth + 1);
    }
    if (is_global(function, "torch", "Size")) {
      if (arguments.empty()) return;
      return add(name, arguments[0], depth + 1);
    }
    if (!is_global(function, "torch._utils", "_rebuild_tensor_v2") &&
        !is_global(function, "torch._utils", "_rebuild_tensor"))
      refuse(name, function);
    if (arguments.size() < 4) fail(name, "a tensor with too few arguments");
    pay(name, kTensorCost);
    if (!out_.tensors.emplace(name, tensor(name, arguments)).second) fail(name, "given twice");
  }

  std::vector<int64_t> sizes_of(const std::string& name, const PickleValue& value) const {
    std::vector<int64_t> out;
    // torch.Size is a call of one tuple.
    const PickleValue* list = &value;
    if (value.kind == Kind::call && is_global((*value.items)[0], "torch", "Size") &&
        (*value.items)[1].items->size() == 1)
      list = &(*(*value.items)[1].items)[0];
    if (list->kind != Kind::tuple && list->kind != Kind::list) fail(name, "its shape is no list");
    if (list->items->size() > kMaxTorchDimensions) fail(name, "has too many dimensions");
    for (const PickleValue& item : *list->items) {
      if (item.kind != Kind::integer || item.integer < 0)
        fail(name, "a size or stride is no integer of 0 or more");
      out.push_back(item.integer);
    }
    return out;
  }

  /// (storage, offset, sizes, strides, ...).
  at::Tensor tensor(const std::string& name, const std::vector<PickleValue>& arguments) {
    const at::Tensor storage = storage_of(name, arguments[0]);
    const std::vector<int64_t> sizes = sizes_of(name, arguments[2]),
                               strides = sizes_of(name, arguments[3]);
    if (sizes.size() != strides.size()) fail(name, "has other strides than sizes");
    if (arguments[1].kind != Kind::integer || arguments[1].integer < 0)
      fail(name, "its offset is no integer of 0 or more");
    // LibTorch's own strides count an empty dimension as 1.
    int64_t count = 1, last = arguments[1].integer, step = 0, extent = 16;
    bool overflow = false;
    for (size_t i = 0; i < sizes.size(); ++i) {
      overflow = overflow ||
                 __builtin_mul_overflow(extent, std::max<int64_t>(sizes[i], 1), &extent) ||
                 __builtin_mul_overflow(count, sizes[i], &count) ||
                 __builtin_mul_overflow(std::max<int64_t>(sizes[i] - 1, 0), strides[i], &step) ||
                 __builtin_add_overflow(last, step, &last);
    }
    if (overflow) fail(name, "its sizes are out of range");
    if (count == 0) return at::empty(sizes, storage.options());
    if (last >= storage.numel())
      fail(name, "reaches element " + std::to_string(last) + " of a storage of " +
                     std::to_string(storage.numel()));
    if (count > storage.numel())
      fail(name, "has more elements than its storage (an expanded tensor); save it as it is");
    return storage.as_strided(sizes, strides, arguments[1].integer);
  }

  /// ('storage', type, key, place, elements).
  at::Tensor storage_of(const std::string& name, const PickleValue& value) {
    if (value.kind != Kind::persistent || (*value.items)[0].kind != Kind::tuple)
      fail(name, "a tensor without a storage");
    const std::vector<PickleValue>& id = *(*value.items)[0].items;
    if (id.size() != 5 || id[0].kind != Kind::text || id[0].text != "storage" ||
        id[1].kind != Kind::global || id[2].kind != Kind::text || id[4].kind != Kind::integer)
      fail(name, "its storage is not described as PyTorch does");
    const Storage* type = nullptr;
    for (const Storage& storage : kStorages)
      if (is_global(id[1], "torch", storage.name)) type = &storage;
    if (type == nullptr) refuse(name, id[1]);
    const std::string key(id[2].text.substr(0, 1000));
    if (const auto known = storages_.find(key); known != storages_.end()) {
      if (known->second.scalar_type() != type->type || known->second.numel() != id[4].integer)
        fail(name, "its storage '" + key.substr(0, 50) + "' is described in two ways");
      return known->second;
    }
    const auto entry = entries_.find("data/" + key);
    if (entry == entries_.end()) fail(name, "its storage '" + key.substr(0, 50) + "' is not there");
    check(!entry->second.deflated, where_, ": '", entry->second.name.substr(0, 100),
          "' is compressed; PyTorch stores as it is");
    const std::string_view bytes = entry->second.stored;
    const auto width = static_cast<int64_t>(c10::elementSize(type->type));
    const auto count = static_cast<int64_t>(bytes.size()) / width;
    if (id[4].integer != count || static_cast<int64_t>(bytes.size()) % width != 0)
      fail(name, "its storage has " + std::to_string(bytes.size()) + " bytes, not " +
                     std::to_string(id[4].integer) + " elements of " + std::to_string(width));
    const at::Tensor out = tensor_of(file_, bytes, {count}, type->type);
    if (type->type == at::kBool)
      for (const char byte : bytes)
        if (byte != 0 && byte != 1)
          fail(name, "is of truth values, but has bytes other than 0 and 1");
    storages_[key] = out;
    return out;
  }

  const OwnedBytes& file_;
  std::string where_;
  std::map<std::string, ZipEntry> entries_;  // without the archive's folder
  std::map<std::string, at::Tensor> storages_;
  size_t cost_left_ = 0;
  TensorFile out_;
};

}  // namespace

TensorFile parse_torch_file(const OwnedBytes& file, const std::string& where) {
  check(!file.bytes.starts_with("\x80\x02\x8a\x0al\xfc"), where,
        ": was written by PyTorch before 1.6; load it there and save it again");
  return Converter(file, where).convert();
}

TensorFile read_torch_file(const std::string& path) {
  const auto file = std::make_shared<MappedFile>(path);
  return parse_torch_file({file->bytes(), file}, path);
}

}  // namespace tweedie
