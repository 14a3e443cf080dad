#include "pack.h"

#include <filesystem>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/tensor/safetensors.h"

namespace tweedie::reference {
namespace {

std::string text_of(const Json& row, const char* key, const std::string& where) {
  const auto found = row.find(key);
  check(found != row.end() && found->is_string(), where, ": a case has no text '", key,
        "': ", row.dump().substr(0, 200));
  return found->get<std::string>();
}

}  // namespace

const Tensor& Case::tensor(const std::string& name) const {
  const auto found = tensors.find(name);
  check(found != tensors.end(), id, ": the pack has no tensor '", name, "' for this case");
  return found->second;
}

std::string Case::path(const std::string& relative) const {
  return (std::filesystem::path(root) / relative).string();
}

Pack::Pack(std::string folder) : folder_(std::move(folder)) {
  const std::string path = (std::filesystem::path(folder_) / "index.json").string();
  const Json index = parse_json(read_file(path));
  check(index.is_object() && index.contains("cases") && index["cases"].is_array(), path,
        ": not the index of a reference pack (expected an object with a list 'cases')");
  check(index.value("format", Json()) == 1, path, ": has format ",
        index.value("format", Json()).dump(), ", this program reads 1");
  gmms_ = index.value("gmms", Json::object());
  for (const Json& row : index["cases"]) {
    for (const char* key : {"id", "group", "peer", "file"}) text_of(row, key, path);
    const Json config = row.value("config", Json::object());
    check(config.is_object(), path, ": the case '", row["id"].get<std::string>(),
          "' has a 'config' that is no table: ", config.dump().substr(0, 200));
    rows_.push_back(row);
  }
}

Case Pack::load(const Json& row) const {
  Case out{text_of(row, "id", folder_),
           text_of(row, "group", folder_),
           text_of(row, "peer", folder_),
           row.value("config", Json::object()),
           row,
           gmms_,
           folder_,
           {}};
  const std::string file = text_of(row, "file", folder_);
  out.tensors = read_safetensors(out.path(file)).tensors;
  return out;
}

}  // namespace tweedie::reference
