#include "tweedie/tensor/safetensors.h"

#include <cstring>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"

using namespace tweedie;

namespace {

std::string with_length(const std::string& header, uint64_t length) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(length >> (8 * i));
  return out + header;
}
std::string file_of(const std::string& header, size_t data_bytes) {
  return with_length(header, header.size()) + std::string(data_bytes, '\1');
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         (a.numel() == 0 || std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0);
}

TensorFile example() {
  TensorFile file;
  file.tensors["weight"] = at::arange(6, at::kFloat).reshape({2, 3});
  file.tensors["step"] = at::full({}, 7, at::kLong);
  file.tensors["empty"] = at::empty({0, 4}, at::kHalf);
  file.metadata = {{"format", "pt"}, {"note", "é \"quoted\"\n"}};
  return file;
}

}  // namespace

TEST_CASE("every type of tensor comes back with its shape and bytes") {
  const Scratch folder;
  TensorFile file;
  for (const at::ScalarType type : {at::kByte, at::kChar, at::kShort, at::kInt, at::kLong,
                                    at::kHalf, at::kBFloat16, at::kFloat, at::kDouble, at::kBool})
    file.tensors[c10::toString(type)] = at::arange(24).reshape({2, 3, 4}).remainder(2).to(type);
  file.tensors["scalar"] = at::full({}, 3.5);
  file.tensors["nothing"] = at::empty({3, 0}, at::kFloat);
  file.tensors["strided"] = at::arange(6, at::kFloat).reshape({2, 3}).t();
  write_safetensors(folder / "a", file);
  const TensorFile back = read_safetensors(folder / "a");
  REQUIRE(back.tensors.size() == file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) {
    CAPTURE(name);
    CHECK(same_bytes(back.tensors.at(name), tensor.contiguous()));
  }
}

TEST_CASE("the bits of numbers that are none survive") {
  const Scratch folder;
  const uint32_t bits[] = {0x7fc00001, 0xffc12345, 0x7f800001, 0x80000000, 0x00000001};
  TensorFile file;
  file.tensors["nan"] = at::empty({5}, at::kFloat);
  std::memcpy(file.tensors["nan"].data_ptr(), bits, sizeof bits);
  write_safetensors(folder / "a", file);
  CHECK(std::memcmp(read_safetensors(folder / "a").tensors["nan"].data_ptr(), bits, sizeof bits) ==
        0);
}

TEST_CASE("the bytes of a file are those of the format's definition") {
  const Scratch folder;
  TensorFile file;
  file.tensors["b"] = at::full({1}, 2, at::kByte);
  file.tensors["a"] = at::full({1, 2}, 1, at::kShort);
  file.metadata["k"] = "v";
  write_safetensors(folder / "a", file);
  std::string header =
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"I16","shape":[1,2],"data_offsets":[0,4]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  CHECK(get(folder / "a") == with_length(header, header.size()) + std::string("\1\0\1\0\2", 5));
}

TEST_CASE("equal contents give equal bytes; the header alone gives names, types and shapes") {
  const Scratch folder;
  write_checked_safetensors(folder / "a", example());
  write_checked_safetensors(folder / "b", read_checked_safetensors(folder / "a"));
  CHECK(get(folder / "a") == get(folder / "b"));
  const TensorFileHeader header = read_safetensors_header(folder / "a");
  CHECK(header.tensors.at("weight").dtype == "F32");
  CHECK(header.tensors.at("weight").shape == std::vector<int64_t>{2, 3});
  CHECK(header.metadata.at("note") == "é \"quoted\"\n");
  CHECK(read_checked_safetensors(folder / "a").metadata == example().metadata);
}

TEST_CASE("types that LibTorch lacks are listed, and refused when read") {
  const Scratch folder;
  put(folder / "a", file_of(R"({"x":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2));
  CHECK(read_safetensors_header(folder / "a").tensors.at("x").dtype == "F8_E4M3");
  check_refused(folder / "a", "F8_E4M3 is not supported", [&] { read_safetensors(folder / "a"); });
}

TEST_CASE("a header that is not well-formed is refused, each fault by its name") {
  struct Case {
    const char* header;
    size_t data_bytes;
    const char* fault;
  };
  const Case cases[] = {
      {"", 0, "not JSON"},
      {"{", 0, "not JSON"},
      {"\xff{}", 0, "not JSON"},
      {"{} {}", 0, "not JSON"},
      {"[]", 0, "expected an object"},
      {"null", 0, "expected an object"},
      {"3", 0, "expected an object"},
      {R"({"x":3})", 0, "unexpected a number"},
      {R"({"x":{}})", 0, "needs 'dtype'"},
      {R"({"x":{"dtype":"U8","shape":[1]}})", 1, "needs 'dtype'"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}})", 1, "unknown key"},
      {R"({"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "given twice"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "given twice"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", 0, "given twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "given twice"},
      {R"({"__metadata__":{"a":1}})", 0, "unexpected a number"},
      {R"({"__metadata__":{"a":{}}})", 0, "unexpected an object"},
      {R"({"__metadata__":[]})", 0, "unexpected a list"},
      {R"({"x":{"dtype":"X9","shape":[1],"data_offsets":[0,1]}})", 1, "unknown dtype 'X9'"},
      {R"({"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1, "negative"},
      {R"({"x":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})", 1, "fraction"},
      {R"({"x":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}})", 1, "unexpected a text"},
      {R"({"x":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", 1, "unexpected a list"},
      {R"({"x":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}})", 1,
       "out of range"},
      {R"({"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0,
       "more elements than can be addressed"},
      {R"({"x":{"dtype":"F32","shape":[0,9223372036854775807,2],"data_offsets":[0,0]}})", 0,
       "more elements than can be addressed"},
      {R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}})", 1, "need 2 bytes"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1, "a begin and an end"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, "a begin and an end"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 1, "too many numbers"},
      {R"({"x":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", 8, "truncated or damaged"},
      {R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "overlap"},
      {R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
       5, "gap"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2, "gap"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 3,
       "2 bytes after the last tensor"},
      {R"({"x":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}} x)",
       1, "not JSON"},
  };
  const Scratch folder;
  for (const Case& c : cases) {
    CAPTURE(c.header);
    put(folder / "a", file_of(c.header, c.data_bytes));
    check_refused(folder / "a", c.fault, [&] { read_safetensors(folder / "a"); });
  }
}

TEST_CASE("a header nested a million deep costs neither stack nor memory") {
  const Scratch folder;
  for (const char* open : {"[", "{\"a\":"}) {
    std::string header;
    for (int i = 0; i < 1'000'000; ++i) header += open;
    put(folder / "a", file_of(header, 0));
    check_refused(folder / "a", "; expected", [&] { read_safetensors(folder / "a"); });
    if (*open == '[') continue;
    put(folder / "a", file_of(R"({"x":{"dtype":"U8","shape":)" + std::string(1'000'000, '['), 0));
    check_refused(folder / "a", "unexpected a list", [&] { read_safetensors(folder / "a"); });
  }
}

TEST_CASE("files that are missing, folders, empty, short or of a false length are refused") {
  const Scratch folder;
  const auto read = [&] { read_safetensors(folder / "a"); };
  check_refused(folder / "a", "no such file", read);
  check_refused(folder.path, "is not a file", [&] { read_safetensors(folder.path); });
  put(folder / "a", "");
  check_refused(folder / "a", "at least 8", read);
  put(folder / "a", "1234567");
  check_refused(folder / "a", "at least 8", read);
  put(folder / "a", with_length("{}", 3));
  check_refused(folder / "a", "truncated", read);
  put(folder / "a", with_length("{}", ~uint64_t{0}));
  check_refused(folder / "a", "truncated", read);
  put(folder / "a", file_of("[1]", 0));
  check_refused(folder / "a", "expected an object", read);
  put(folder / "a", file_of(std::string("{}\0{}", 5), 0));
  check_refused(folder / "a", "zero byte", read);
}

TEST_CASE("a truth value that is neither 0 nor 1 is refused") {
  const Scratch folder;
  put(folder / "a",
      with_length(R"({"x":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})", 55) + "\2");
  check_refused(folder / "a", "BOOL", [&] { read_safetensors(folder / "a"); });
}

TEST_CASE("what has no name in the format is not written") {
  const Scratch folder;
  const auto write = [&](TensorFile file) {
    return refusal([&] { write_safetensors(folder / "a", file); });
  };
  CHECK(says(write({{{"x", at::zeros({1}, at::kComplexFloat)}}, {}}), "has no name"));
  CHECK(says(write({{{"x", at::Tensor()}}, {}}), "strided"));
  CHECK(says(write({{{"__metadata__", at::zeros({1})}}, {}}), "the format's own"));
  CHECK(says(write({{{"\xff", at::zeros({1})}}, {}}), "not UTF-8"));
  CHECK(says(write({{}, {{"k", "\xff"}}}), "not UTF-8"));
  CHECK(says(refusal([&] {
               write_checked_safetensors(folder / "a", {{}, {{"crc32", ""}}});
             }),
             "checksums"));
  CHECK(get(folder / "a").empty());
}

TEST_CASE("a checked file with a wrong bit in any of its bytes is refused") {
  const Scratch folder;
  write_checked_safetensors(folder / "a", example());
  const std::string bytes = get(folder / "a");
  CHECK_NOTHROW(read_checked_safetensors(folder / "a"));
  int accepted = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    put(folder / "a", damaged);
    accepted += refusal([&] { read_checked_safetensors(folder / "a"); }).empty();
  }
  CHECK(accepted == 0);
}

TEST_CASE("the damaged tensor of a checked file is named; an unchecked file is refused") {
  const Scratch folder;
  write_checked_safetensors(folder / "a", example());
  std::string bytes = get(folder / "a");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  put(folder / "a", bytes);
  check_refused(folder / "a", "checksum of tensor 'weight'",
                [&] { read_checked_safetensors(folder / "a"); });
  write_safetensors(folder / "a", example());
  check_refused(folder / "a", "has no checksums", [&] { read_checked_safetensors(folder / "a"); });
}

TEST_CASE("random damage to a tensor file gives a value or an error") {
  const Scratch folder;
  write_safetensors(folder / "a", example());
  const std::string bytes = get(folder / "a");
  const int refused = damage(bytes, folder / "a", 500, [&] { read_safetensors(folder / "a"); });
  CHECK(refused > 160);  // most of the file is header
}

TEST_CASE("a file that is read ahead may be let go of before it has been read") {
  const Scratch folder;
  const std::string path = folder / "large.safetensors";
  const at::Tensor values = at::arange(20 << 20, at::kFloat);  // 80 MiB
  write_safetensors(path, {{{"x", values}}, {}});
  for (int i = 0; i < 3; ++i) CHECK(read_safetensors(path).tensors.at("x")[5].item<float>() == 5);
  CHECK(at::equal(read_safetensors(path).tensors.at("x"), values));
}
