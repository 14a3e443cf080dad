// PNG by libpng.  libpng reports errors by longjmp: between a setjmp and the calls that may jump
// there are only trivial locals, everything else is owned by the caller.
#include <csetjmp>
#include <cstring>

#include <png.h>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/tensor/image_codec.h"

namespace tweedie {
namespace {

struct Fault {
  char message[256] = "unknown fault";
};

void on_error(png_structp png, png_const_charp message) {
  auto* fault = static_cast<Fault*>(png_get_error_ptr(png));
  std::snprintf(fault->message, sizeof fault->message, "%s", message);
  png_longjmp(png, 1);
}
// Warnings are of ancillary chunks, which are not used.  But libpng only warns of one that claims
// more than it may (8 MB), and then allocates it, up to 2 GiB.
void on_warning(png_structp png, png_const_charp message) {
  if (std::strstr(message, "chunk data is too large") != nullptr) on_error(png, message);
}

void read_bytes(png_structp png, png_bytep to, size_t count) {
  auto* file = static_cast<std::FILE*>(png_get_io_ptr(png));
  if (std::fread(to, 1, count, file) != count) png_error(png, "the file ends too early");
}

struct Reader {
  Fault fault;
  png_structp png;
  png_infop info = nullptr;
  explicit Reader(std::FILE* file)
      : png(png_create_read_struct(PNG_LIBPNG_VER_STRING, &fault, on_error, on_warning)) {
    if (!png) return;
    info = png_create_info_struct(png);
    png_set_read_fn(png, file, read_bytes);
    png_set_user_limits(png, 1 << 24, 1 << 24);
    png_set_chunk_malloc_max(png, 64 << 20);
    png_set_chunk_cache_max(png, 1000);
  }
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
};

/// Reads up to the pixels, and has them expanded to whole bytes: palettes to RGB, few-bit gray to 8
/// bits, transparent colours to an alpha channel.
bool read_info(png_structp png, png_infop info) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_read_info(png, info);
  png_set_expand(png);
  png_set_swap(png);  // 16-bit samples to this machine's (little-endian) order
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  return true;
}

bool read_rows(png_structp png, png_infop info, png_bytepp rows) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_read_image(png, rows);
  png_read_end(png, info);
  return true;
}

/// {C, H, W, levels}; `reader` is left before the pixels.
std::vector<int64_t> open_png(Reader& reader, std::FILE* file, const std::string& path) {
  check(reader.png && reader.info, path, ": no memory to read it");
  check(read_info(reader.png, reader.info), path, ": damaged PNG: ", reader.fault.message);
  const int64_t height = png_get_image_height(reader.png, reader.info);
  const int64_t width = png_get_image_width(reader.png, reader.info);
  check(height * width <= kMaxPixels, path, ": has ", width, " x ", height,
        " pixels; at most 2^28 are read");
  // Deflate shrinks at most 1032 times: a tiny file that claims to be huge is not believed.
  const int64_t held = size_of(file);
  const auto bytes = static_cast<int64_t>(png_get_rowbytes(reader.png, reader.info)) * height;
  check(bytes / 8 / 1032 <= held, path, ": claims ", width, " x ", height, " pixels, but has only ",
        held, " bytes");
  return {png_get_channels(reader.png, reader.info), height, width,
          png_get_bit_depth(reader.png, reader.info) == 16 ? 65536 : 256};
}

TextChunks texts_of(Reader& reader) {
  TextChunks texts;
  png_textp list = nullptr;
  const int count = png_get_text(reader.png, reader.info, &list, nullptr);
  for (int i = 0; i < count; ++i) texts.emplace_back(list[i].key, list[i].text ? list[i].text : "");
  return texts;
}

struct Writer {
  Fault fault;
  png_structp png;
  png_infop info = nullptr;
  std::string out;
  Writer() : png(png_create_write_struct(PNG_LIBPNG_VER_STRING, &fault, on_error, on_warning)) {
    if (png) info = png_create_info_struct(png);
  }
  ~Writer() { png_destroy_write_struct(&png, &info); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
};

void append_bytes(png_structp png, png_bytep bytes, size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<char*>(bytes), count);
}
void flush_nothing(png_structp) {}

struct Picture {
  uint32_t width, height;
  int bits, colour;
};

bool encode(png_structp png, png_infop info, std::string* out, const Picture& picture,
            png_textp texts, int text_count, png_bytepp rows) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_write_fn(png, out, append_bytes, flush_nothing);
  png_set_IHDR(png, info, picture.width, picture.height, picture.bits, picture.colour,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (text_count > 0) png_set_text(png, info, texts, text_count);
  png_write_info(png, info);
  if (picture.bits == 16) png_set_swap(png);  // its 16 bits are big-endian
  png_write_image(png, rows);
  png_write_end(png, info);
  return true;
}

bool is_ascii(const std::string& text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= 128) return false;
  return true;
}

}  // namespace

std::vector<int64_t> png_size(std::FILE* file, const std::string& path) {
  Reader reader(file);
  return open_png(reader, file, path);
}

DecodedPng decode_png(std::FILE* file, const std::string& path) {
  Reader reader(file);
  const std::vector<int64_t> size = open_png(reader, file, path);
  const int64_t channels = size[0], height = size[1], width = size[2], levels = size[3];
  const size_t row_bytes = png_get_rowbytes(reader.png, reader.info);
  std::vector<unsigned char> bytes(row_bytes * static_cast<size_t>(height));
  std::vector<png_bytep> rows(static_cast<size_t>(height));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = bytes.data() + i * row_bytes;
  check(read_rows(reader.png, reader.info, rows.data()), path,
        ": damaged PNG: ", reader.fault.message);
  DecodedPng out;
  out.image.levels = levels;
  out.image.pixels = levels == 256 ? planes(bytes.data(), height, width, channels)
                                   : planes(reinterpret_cast<const uint16_t*>(bytes.data()), height,
                                            width, channels);
  out.texts = texts_of(reader);
  return out;
}

std::string encode_png(const at::Tensor& pixels, const TextChunks& texts, const std::string& path) {
  const bool deep = pixels.scalar_type() == at::kInt;
  check(pixels.dim() == 3 && (deep || pixels.scalar_type() == at::kByte) && pixels.numel() > 0 &&
            pixels.size(0) <= 4,
        path, ": a PNG needs uint8 or int32 pixels [C, H, W] with C = 1..4, got ",
        c10::toString(pixels.scalar_type()), " ", pixels.sizes());
  const int64_t channels = pixels.size(0), height = pixels.size(1), width = pixels.size(2);
  check(height < (1 << 24) && width < (1 << 24), path, ": ", width, " x ", height,
        " pixels are too many for a PNG");
  check(!deep || (pixels.min().item<int>() >= 0 && pixels.max().item<int>() < 65536), path,
        ": 16-bit pixels are 0 to 65535");
  const at::Tensor interleaved = pixels.cpu()
                                     .permute({1, 2, 0})
                                     .to(deep ? at::kShort : at::kByte)  // the same 16 bits
                                     .contiguous();                      // [H, W, C]
  std::vector<png_bytep> rows(static_cast<size_t>(height));
  for (int64_t i = 0; i < height; ++i)
    rows[static_cast<size_t>(i)] =
        static_cast<png_bytep>(interleaved.data_ptr()) + i * width * channels * (deep ? 2 : 1);

  std::vector<png_text> list;
  for (const auto& [key, text] : texts) {
    check(!key.empty() && key.size() <= 79 && is_ascii(key) && key.front() != ' ' &&
              key.back() != ' ' && text.find('\0') == std::string::npos,
          path, ": a text chunk needs a key of 1 to 79 ASCII characters and a text without zero ",
          "bytes, got key '", key, "'");
    png_text chunk{};
    chunk.compression = is_ascii(text) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    chunk.key = const_cast<char*>(key.c_str());
    chunk.text = const_cast<char*>(text.c_str());
    (is_ascii(text) ? chunk.text_length : chunk.itxt_length) = text.size();
    list.push_back(chunk);
  }
  constexpr int kColours[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                              PNG_COLOR_TYPE_RGB_ALPHA};
  Writer writer;
  check(writer.png && writer.info, path, ": no memory to write it");
  const Picture picture = {static_cast<uint32_t>(width), static_cast<uint32_t>(height),
                           deep ? 16 : 8, kColours[channels - 1]};
  check(encode(writer.png, writer.info, &writer.out, picture, list.data(),
               static_cast<int>(list.size()), rows.data()),
        path, ": cannot be made a PNG: ", writer.fault.message);
  return writer.out;
}

void write_png(const std::string& path, const at::Tensor& pixels, const TextChunks& texts) {
  write_file_atomically(path, encode_png(pixels, texts, path));
}

}  // namespace tweedie
