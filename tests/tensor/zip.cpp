#include "tweedie/tensor/zip.h"

#include <zlib.h>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/base/error.h"
#include "tweedie/tensor/npy.h"

using namespace tweedie;

namespace {

std::string archive_of(const std::vector<ZipPart>& parts) {
  std::string out;
  write_zip(
      [&](const void* bytes, size_t count) { out.append(static_cast<const char*>(bytes), count); },
      parts);
  return out;
}

std::string little(uint64_t value, size_t width) {
  std::string out;
  for (size_t i = 0; i < width; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

/// One entry, deflated, as other programs write it; `claims` is the size that it says to have.
std::string deflated(const std::string& name, const std::string& bytes, uint64_t claims) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  const uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  const std::string kind = little(20, 2) + little(0, 2) + little(8, 2) + little(0, 4) +
                           little(crc, 4) + little(packed.size(), 4) + little(claims, 4) +
                           little(name.size(), 2);
  const std::string local = little(0x04034b50, 4) + kind + little(0, 2) + name + packed;
  const std::string central =
      little(0x02014b50, 4) + little(20, 2) + kind + std::string(12, '\0') + little(0, 4) + name;
  return local + central + little(0x06054b50, 4) + little(0, 4) + little(1, 2) + little(1, 2) +
         little(central.size(), 4) + little(local.size(), 4) + little(0, 2);
}

}  // namespace

TEST_CASE("an archive has the entries that were written") {
  const std::string empty, long_one(100000, 'x');
  const std::string archive =
      archive_of({{"a", {"one ", "two"}}, {"folder/b", {long_one}}, {"c", {empty}}});
  const std::vector<ZipEntry> entries = zip_entries(archive, "file");
  REQUIRE(entries.size() == 3);
  CHECK(entries[0].name == "a");
  CHECK(inflated(entries[0], "file") == "one two");
  CHECK(inflated(entries[1], "file") == long_one);
  CHECK(entries[2].stored.empty());
  for (const ZipEntry& entry : entries) CHECK_NOTHROW(check_stored(entry, "file"));
}

TEST_CASE("a deflated entry is inflated, and its size and checksum must be true") {
  std::string bytes;
  for (int i = 0; i < 5000; ++i) bytes += std::to_string(i * i);
  const std::string archive = deflated("numbers", bytes, bytes.size());
  CHECK(inflated(zip_entries(archive, "file").at(0), "file") == bytes);
  for (const uint64_t claims : {bytes.size() - 1, bytes.size() + 1, size_t{0}})
    CHECK(says(refusal([&] {
                 inflated(zip_entries(deflated("numbers", bytes, claims), "file")[0], "file");
               }),
               "does not inflate to"));
}

TEST_CASE("what would grow beyond measure is refused before it grows") {
  const std::string zeros(1000, '\0');
  CHECK(says(refusal([&] {
               inflated(zip_entries(deflated("bomb", zeros, uint64_t{3} << 30), "file")[0], "file");
             }),
             "a hundredfold is refused"));
}

TEST_CASE("faults of an archive are named") {
  const std::string good = archive_of({{"a", {"one"}}, {"b", {"two"}}});
  const auto fault = [](const std::string& archive) {
    return refusal([&] {
      for (const ZipEntry& entry : zip_entries(archive, "file")) inflated(entry, "file");
    });
  };
  CHECK(says(fault(""), "is no ZIP archive"));
  CHECK(says(fault(good.substr(0, good.size() - 1)), "is no ZIP archive, or its end is missing"));
  CHECK(says(fault(archive_of({{"a", {"one"}}, {"a", {"two"}}})), "is in the archive twice"));
  std::string damaged = good;
  damaged[damaged.find("one")] = 'O';
  CHECK(says(fault(damaged), "its checksum does not match"));
  std::string encrypted = deflated("a", "text", 4);
  encrypted[encrypted.find(little(0x02014b50, 4)) + 8] = 1;
  CHECK(says(fault(encrypted), "is encrypted"));
  std::string method = deflated("a", "text", 4);
  method[method.find(little(0x02014b50, 4)) + 10] = 12;
  CHECK(says(fault(method), "is compressed by method 12"));
  // Both entries at the first one's place.
  std::string overlap = archive_of({{"a", {"one"}}, {"b", {"one"}}});
  const size_t second = overlap.rfind("b" + little(1, 2) + little(24, 2));
  overlap.replace(second + 1 + 4 + 16, 8, little(0, 8));
  CHECK(says(fault(overlap), "overlap"));
}

TEST_CASE("arrays go into an archive and come back, compressed ones too") {
  const Scratch folder;
  const std::map<std::string, at::Tensor> arrays = {{"x", at::arange(6, at::kFloat).view({2, 3})},
                                                    {"labels", at::arange(2)}};
  write_npz(folder / "a.npz", arrays);
  const auto back = read_npz(folder / "a.npz");
  REQUIRE(back.size() == 2);
  for (const auto& [name, array] : arrays) CHECK(at::equal(back.at(name), array));
  write_npy(folder / "x.npy", arrays.at("x"));
  const std::string bytes = get(folder / "x.npy");
  put(folder / "b.npz", deflated("x.npy", bytes, bytes.size()));
  CHECK(at::equal(read_npz(folder / "b.npz").at("x"), arrays.at("x")));
  put(folder / "c.npz", archive_of({{"x.txt", {"text"}}}));
  check_refused(folder / "c.npz", "is no array", [&] { read_npz(folder / "c.npz"); });
}

TEST_CASE("random damage to an archive gives arrays or an error") {
  const Scratch folder;
  write_npz(folder / "a.npz", {{"x", at::arange(6, at::kFloat)}, {"y", at::arange(4)}});
  const std::string bytes = get(folder / "a.npz");
  CHECK(damage(bytes, folder / "b.npz", 3000, [&] { read_npz(folder / "b.npz"); }) > 1000);
}
