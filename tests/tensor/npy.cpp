#include "tweedie/tensor/npy.h"

#include <cstring>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"

using namespace tweedie;

namespace {

std::string npy_bytes(const std::string& dictionary, size_t data_bytes, int major = 1) {
  std::string out = "\x93NUMPY";
  out += static_cast<char>(major);
  out += '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i)
    out += static_cast<char>(dictionary.size() >> (8 * i));
  return out + dictionary + std::string(data_bytes, '\1');
}

}  // namespace

TEST_CASE("arrays of every type and shape come back exactly") {
  const Scratch folder;
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kLong, at::kInt, at::kByte}) {
    for (const std::vector<int64_t>& shape :
         {std::vector<int64_t>{}, {1}, {3}, {2, 3}, {2, 0, 3}, {1, 2, 3, 4}}) {
      CAPTURE(type);
      CAPTURE(shape.size());
      const at::Tensor values = at::arange(c10::multiply_integers(shape)).to(type).reshape(shape);
      write_npy(folder / "a.npy", values);
      const at::Tensor back = read_npy(folder / "a.npy");
      CHECK((back.scalar_type() == type));
      CHECK(at::equal(back, values));
    }
  }
  const at::Tensor strided = at::arange(6, at::kFloat).reshape({2, 3}).t();
  write_npy(folder / "a.npy", strided);
  CHECK(at::equal(read_npy(folder / "a.npy"), strided));
}

TEST_CASE("the bytes of an array are those that NumPy 1.24 writes") {
  // numpy.save of numpy.array([[1, 2, 3]], dtype=numpy.uint8)
  const Scratch folder;
  write_npy(folder / "a.npy", at::tensor({1, 2, 3}, at::kByte).view({1, 3}));
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3), }";
  header.resize(117, ' ');
  CHECK(get(folder / "a.npy") == std::string("\x93NUMPY\1\0\x76\0", 10) + header + "\n" + "\1\2\3");
}

TEST_CASE("formats 2.0 and 3.0 are read too") {
  const Scratch folder;
  for (const int major : {1, 2, 3}) {
    put(folder / "a", npy_bytes("{'shape':(2,),'fortran_order':False,'descr':'|u1'}\n", 2, major));
    CHECK(at::equal(read_npy(folder / "a"), at::tensor({1, 1}, at::kByte)));
  }
}

TEST_CASE("files that are no usable array are refused, each with its reason") {
  const Scratch folder;
  const auto refuse = [&](const std::string& contents, const std::string& fault) {
    CAPTURE(contents);
    put(folder / "a", contents);
    check_refused(folder / "a", fault, [&] { read_npy(folder / "a"); });
  };
  check_refused(folder / "none", "no such file", [&] { read_npy(folder / "none"); });
  check_refused(folder.path, "is not a file", [&] { read_npy(folder.path); });
  refuse("", "is not a NumPy");
  refuse("\x93NUMPZ\1\0  ", "is not a NumPy");
  refuse(npy_bytes("{}", 0, 4), "has .npy format 4");
  refuse(npy_bytes("{'descr': '|u1'", 0).substr(0, 12), "header would have");
  refuse(std::string("\x93NUMPY\2\0\xff\xff\xff\x7f{", 13), "header would have");
  const auto dictionary = [](const std::string& descr, const std::string& order,
                             const std::string& shape) {
    return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  };
  refuse(npy_bytes(dictionary("'<f4'", "False", "(3,)"), 11), "truncated or damaged");
  refuse(npy_bytes(dictionary("'<f4'", "False", "(3,)"), 13), "truncated or damaged");
  refuse(npy_bytes(dictionary("'f4'", "False", "(3,)"), 12), "dtype 'f4'");
  refuse(npy_bytes(dictionary("'<c8'", "False", "(3,)"), 24), "dtype '<c8'");
  refuse(npy_bytes(dictionary("'<u8'", "False", "(1,)"), 0) + std::string(8, '\xff'),
         "has the value 18446744073709551615");
  refuse(npy_bytes(dictionary("'|O'", "False", "(3,)"), 12), "dtype '|O'");
  refuse(npy_bytes(dictionary("[('a', '<f4')]", "False", "(3,)"), 12), "is of records");
  refuse(npy_bytes(dictionary("'<f4'", "Maybe", "(3,)"), 12), "neither True nor False");
  refuse(npy_bytes(dictionary("'<f4'", "False", "(-3,)"), 12), "not a whole number");
  refuse(npy_bytes(dictionary("'<f4'", "False", "(3"), 12), "damaged .npy header");
  refuse(npy_bytes(dictionary("'<f4'", "False", "(99999999999999999999,)"), 12), "too large");
  refuse(npy_bytes(dictionary("'<f4'", "False", "(4611686018427387904, 4)"), 0),
         "more elements than can be addressed");
  refuse(npy_bytes(dictionary("'<f4'", "False", "(0, 4611686018427387904, 4)"), 0),
         "more elements than can be addressed");
  refuse(npy_bytes("{'descr': '<f4', 'descr': '<f4'}", 0), "given twice");
  refuse(npy_bytes("{'descr': '<f4'}", 0), "needs 'descr'");
  refuse(npy_bytes("{'danger': '<f4'}", 0), "unknown key 'danger'");
  refuse(npy_bytes(dictionary("'<f4'", "False", "()") + "import os", 4), "after the dictionary");
}

TEST_CASE("types that NumPy lacks are not written") {
  const Scratch folder;
  CHECK(says(refusal([&] { write_npy(folder / "a", at::zeros({1}, at::kBFloat16)); }),
             "not BFloat16"));
  CHECK(says(refusal([&] { write_npy(folder / "a", at::Tensor()); }), "strided"));
}

TEST_CASE("random damage to an array gives a value or an error") {
  const Scratch folder;
  write_npy(folder / "a", at::arange(20, at::kDouble));
  CHECK(damage(get(folder / "a"), folder / "a", 500, [&] { read_npy(folder / "a"); }) > 160);
}

TEST_CASE("either byte order and numbers without a sign are read") {
  const Scratch folder;
  const auto read = [&](const std::string& descr, const std::string& bytes) {
    put(folder / "a",
        npy_bytes("{'descr': '" + descr + "', 'fortran_order': False, 'shape': (2,)}", 0) + bytes);
    return read_npy(folder / "a");
  };
  // numpy.array([1, -2], dtype=descr).tobytes()
  CHECK(at::equal(read(">f4", std::string("\x3f\x80\0\0\xc0\0\0\0", 8)),
                  at::tensor({1, -2}, at::kFloat)));
  CHECK(at::equal(read(">i2", std::string("\0\1\xff\xfe", 4)), at::tensor({1, -2}, at::kShort)));
  // numpy.array([1, 4294967294], dtype=descr).tobytes()
  CHECK(at::equal(read("<u4", std::string("\1\0\0\0\xfe\xff\xff\xff", 8)),
                  at::tensor({1L, 4294967294L}, at::kLong)));
  CHECK(at::equal(read(">u8", std::string("\0\0\0\0\0\0\0\1\0\0\0\0\xff\xff\xff\xfe", 16)),
                  at::tensor({1L, 4294967294L}, at::kLong)));
  CHECK(at::equal(read(">u1", "\1\2"), at::tensor({1, 2}, at::kByte)));
}

TEST_CASE("an array in Fortran's order comes in C's, numbers of 16 bits without a sign as 32") {
  const Scratch folder;
  // numpy.asfortranarray([[1, 2, 3], [4, 5, 6]], dtype=numpy.uint16)
  const std::string values("\1\0\4\0\2\0\5\0\3\0\xff\xff", 12);
  put(folder / "a",
      npy_bytes("{'descr': '<u2', 'fortran_order': True, 'shape': (2, 3)}", 0) + values);
  CHECK(
      at::equal(read_npy(folder / "a"), at::tensor({1, 2, 3, 4, 5, 65535}, at::kInt).view({2, 3})));
}
