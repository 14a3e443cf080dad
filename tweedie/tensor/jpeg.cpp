// JPEG by libjpeg, whose errors are longjmps too (see png.cpp).
#include <csetjmp>
#include <cstdio>

// jpeglib.h wants <cstdio> first.
#include <jpeglib.h>

#include "tweedie/base/error.h"
#include "tweedie/tensor/image_codec.h"

namespace tweedie {
namespace {

struct Reader {
  jpeg_error_mgr errors;  // first member: libjpeg's pointer to it is a pointer to this
  jpeg_progress_mgr progress;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";
  jpeg_decompress_struct jpeg;

  explicit Reader(std::FILE* file);
  ~Reader() { jpeg_destroy_decompress(&jpeg); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
};

void on_error(j_common_ptr jpeg) {
  auto* reader = reinterpret_cast<Reader*>(jpeg->err);
  if (!reader->message[0]) jpeg->err->format_message(jpeg, reader->message);
  std::longjmp(reader->jump, 1);
}
void on_message(j_common_ptr jpeg, int level) {
  if (level < 0) on_error(jpeg);  // damaged data, which libjpeg would fill with gray
}
/// A small progressive file can ask for thousands of passes over a large image.
void on_progress(j_common_ptr jpeg) {
  auto* reader = reinterpret_cast<Reader*>(jpeg->err);
  if (reader->jpeg.input_scan_number <= 500) return;
  std::snprintf(reader->message, sizeof reader->message, "more than 500 scans");
  on_error(jpeg);
}

bool create(Reader& reader, std::FILE* file) {
  if (setjmp(reader.jump)) return false;
  jpeg_create_decompress(&reader.jpeg);
  jpeg_stdio_src(&reader.jpeg, file);
  return true;
}

Reader::Reader(std::FILE* file) : jpeg{} {
  jpeg.err = jpeg_std_error(&errors);
  errors.error_exit = on_error;
  errors.emit_message = on_message;
  progress = {};
  progress.progress_monitor = on_progress;
  create(*this, file);
  jpeg.progress = &progress;
}

bool read_header(Reader& reader) {
  if (reader.message[0] || setjmp(reader.jump)) return false;
  jpeg_read_header(&reader.jpeg, TRUE);
  return true;
}

bool read_rows(Reader& reader, unsigned char* to, size_t row_bytes) {
  if (setjmp(reader.jump)) return false;
  jpeg_start_decompress(&reader.jpeg);
  while (reader.jpeg.output_scanline < reader.jpeg.output_height) {
    JSAMPROW row = to + reader.jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&reader.jpeg, &row, 1);
  }
  jpeg_finish_decompress(&reader.jpeg);
  return true;
}

/// {C, H, W, levels}; gray stays gray, YCbCr becomes RGB.
std::vector<int64_t> open_jpeg(Reader& reader, std::FILE* file, const std::string& path) {
  check(read_header(reader), path, ": damaged JPEG: ", reader.message);
  jpeg_decompress_struct& jpeg = reader.jpeg;
  const bool gray = jpeg.jpeg_color_space == JCS_GRAYSCALE;
  check(gray || jpeg.jpeg_color_space == JCS_YCbCr || jpeg.jpeg_color_space == JCS_RGB, path,
        ": a JPEG of ", jpeg.num_components,
        " channels (CMYK?) cannot be read; convert it to RGB or gray");
  jpeg.out_color_space = gray ? JCS_GRAYSCALE : JCS_RGB;
  const int64_t height = jpeg.image_height, width = jpeg.image_width;
  check(height * width <= kMaxPixels, path, ": has ", width, " x ", height,
        " pixels; at most 2^28 are read");
  // Huffman codes take a bit or more for each 8 x 8 block, arithmetic ones hardly 16 times less: a
  // tiny file that claims to be huge is not believed.
  const int64_t bytes = size_of(file);
  check(height * width / 8192 <= bytes, path, ": damaged JPEG: claims ", width, " x ", height,
        " pixels, too many for a file of ", bytes, " bytes");
  return {gray ? 1 : 3, height, width, 256};
}

}  // namespace

std::vector<int64_t> jpeg_size(std::FILE* file, const std::string& path) {
  Reader reader(file);
  return open_jpeg(reader, file, path);
}

Image decode_jpeg(std::FILE* file, const std::string& path) {
  Reader reader(file);
  const std::vector<int64_t> size = open_jpeg(reader, file, path);
  const int64_t channels = size[0], height = size[1], width = size[2];
  std::vector<unsigned char> bytes(static_cast<size_t>(channels * height * width));
  check(read_rows(reader, bytes.data(), static_cast<size_t>(channels * width)), path,
        ": damaged JPEG: ", reader.message);
  return {planes(bytes.data(), height, width, channels), 256};
}

}  // namespace tweedie
