#include "tweedie/tensor/torch_file.h"

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/base/error.h"
#include "tweedie/tensor/zip.h"

using namespace tweedie;

namespace {

std::string text(const std::string& value) {
  return "X" + std::string{static_cast<char>(value.size()), '\0', '\0', '\0'} + value;
}

std::string integer(int value) { return std::string("K") + static_cast<char>(value); }

std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

std::string tuple(const std::vector<int>& values) {
  std::string out = "(";
  for (const int value : values) out += integer(value);
  return out + "t";
}

/// What torch.save writes for a tensor.
std::string tensor(const std::string& type, const std::string& key, int elements, int offset,
                   const std::vector<int>& sizes, const std::vector<int>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") + "((" + text("storage") +
         global("torch", type) + text(key) + text("cpu") + integer(elements) + "tQ" +
         integer(offset) + tuple(sizes) + tuple(strides) + "\x89" +
         global("collections", "OrderedDict") + ")RtR";
}

std::string pickled(const std::string& body) { return "\x80\x02" + body + "."; }

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::string checkpoint(const std::string& pickle, const std::vector<std::string>& storages) {
  std::vector<ZipPart> parts = {{"archive/data.pkl", {pickle}}, {"archive/byteorder", {"little"}}};
  for (size_t i = 0; i < storages.size(); ++i)
    parts.push_back({"archive/data/" + std::to_string(i), {storages[i]}});
  std::string out;
  write_zip(
      [&](const void* bytes, size_t count) { out.append(static_cast<const char*>(bytes), count); },
      parts);
  return out;
}

std::string torch_example() {
  const std::string body = "}(" + text("model") + global("collections", "OrderedDict") + ")Rq\1(" +
                           text("weight") + tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1}) +
                           text("transposed") + tensor("FloatStorage", "0", 6, 0, {3, 2}, {1, 3}) +
                           text("bias") + tensor("FloatStorage", "0", 6, 4, {2}, {1}) + "u}(" +
                           text("_metadata") + "}ub" + text("step") + integer(7) + text("name") +
                           text("net") + "u";
  return checkpoint(pickled(body), {floats({1, 2, 3, 4, 5, 6})});
}

TensorFile parse(const std::string& bytes) { return parse_torch_file({bytes, nullptr}, "file"); }

/// The message for a file whose pickle has this body.
std::string fault(const std::string& body, const std::vector<std::string>& storages = {}) {
  return refusal([&] { parse(checkpoint(pickled(body), storages)); });
}

}  // namespace

TEST_CASE("dictionaries of tensors, views of one storage, numbers and texts are read") {
  const TensorFile file = parse(torch_example());
  CHECK(file.tensors.size() == 3);
  const at::Tensor whole = at::arange(1, 7, at::kFloat);
  CHECK(at::equal(file.tensors.at("model.weight"), whole.view({2, 3})));
  CHECK(at::equal(file.tensors.at("model.transposed"), whole.view({2, 3}).t()));
  CHECK(at::equal(file.tensors.at("model.bias"), whole.slice(0, 4)));
  CHECK(file.metadata.at("step") == "7");
  CHECK(file.metadata.at("name") == "net");
}

TEST_CASE("a file's tensors are its own bytes") {
  const Scratch folder;
  put(folder / "a.pt", torch_example());
  const TensorFile file = read_torch_file(folder / "a.pt");
  CHECK(at::equal(file.tensors.at("model.bias"), at::tensor({5.0F, 6.0F})));
}

TEST_CASE("a pickle that names anything that could run is refused by that name") {
  const std::string message = fault(global("os", "system") + "(" + text("ls") + "tR");
  CHECK(says(message, "os.system"));
  CHECK(says(message, "nothing is executed"));
  CHECK(says(fault("}(" + text("model") + global("builtins", "eval") + "(" + text("1") + "tRu"),
             "'model': names the Python object 'builtins.eval'"));
  CHECK(says(fault(global("torch.nn.modules.linear", "Linear") + ")\x81"),
             "operation 129 is not one that files of tensors need"));
  // By way of the stack.
  CHECK(says(fault(text("posix") + text("system") + "\x93(" + text("ls") + "tR"), "posix.system"));
  // A storage of a class of one's own.
  CHECK(says(fault(global("torch._utils", "_rebuild_tensor_v2") + "((" + text("storage") +
                   global("evil", "Storage") + text("0") + text("cpu") + integer(1) + "tQ" +
                   integer(0) + tuple({1}) + tuple({1}) + "tR"),
             "evil.Storage"));
}

TEST_CASE("tensors that do not fit their storage are refused") {
  const std::vector<std::string> storage = {floats({1, 2, 3, 4})};
  CHECK(fault(tensor("FloatStorage", "0", 4, 0, {4}, {1}), storage).empty());
  CHECK(says(fault(tensor("FloatStorage", "0", 4, 1, {4}, {1}), storage), "reaches element 4"));
  CHECK(
      says(fault(tensor("FloatStorage", "0", 4, 0, {2, 2}, {3, 1}), storage), "reaches element 4"));
  CHECK(says(fault(tensor("FloatStorage", "0", 4, 0, {9}, {0}), storage),
             "more elements than its storage"));
  CHECK(says(fault(tensor("FloatStorage", "0", 5, 0, {4}, {1}), storage), "not 5 elements"));
  CHECK(says(fault(tensor("DoubleStorage", "0", 4, 0, {4}, {1}), storage),
             "16 bytes, not 4 elements"));
  CHECK(says(fault(tensor("FloatStorage", "1", 4, 0, {4}, {1}), storage),
             "storage '1' is not there"));
  CHECK(says(fault(tensor("FloatStorage", "0", 4, 0, {4}, {1, 1}), storage), "other strides"));
}

TEST_CASE("a value that holds itself ends in an error, not in endless work") {
  CHECK(says(fault("]q\1h\1a"), "nested too deeply"));
  // Each list twice in the next one: 2^30 values in 100 bytes.
  std::string body = "]q" + std::string(1, '\0');
  for (char i = 0; i < 30; ++i)
    body += std::string("](h") + i + "h" + i + "eq" + static_cast<char>(i + 1);
  CHECK(says(fault(body), "nested too deeply"));
}

TEST_CASE("faults of a pickle are named with their place") {
  CHECK(says(fault("K"), "ends within an operation"));
  CHECK(says(fault("0"), "operation 48"));
  CHECK(says(fault("t"), "a mark that is not there"));
  CHECK(says(fault("h\5"), "recalls what it has not remembered"));
  CHECK(says(fault("}(K\1u"), "a key without a value"));
  CHECK(says(fault("]K\1K\2s"), "expected a dictionary"));
  CHECK(says(fault(""), "takes a value that is not there"));
  CHECK(says(refusal([&] { parse(checkpoint("\x80\x01N.", {})); }), "protocol 1"));
}

TEST_CASE("what is no checkpoint says so") {
  const Scratch folder;
  put(folder / "a.pt", "text");
  check_refused(folder / "a.pt", "is no ZIP archive", [&] { read_torch_file(folder / "a.pt"); });
  put(folder / "b.pt", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
  check_refused(folder / "b.pt", "before 1.6", [&] { read_torch_file(folder / "b.pt"); });
}

TEST_CASE("random damage to a checkpoint gives tensors or an error") {
  const Scratch folder;
  CHECK(damage(torch_example(), folder / "a.pt", 3000, [&] { read_torch_file(folder / "a.pt"); }) >
        500);
}
