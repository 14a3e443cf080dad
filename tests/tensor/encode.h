// Image files made byte by byte, independently of the library's writers.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

// jpeglib.h wants <cstdio> first.
#include <jpeglib.h>
#include <zlib.h>

inline std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size());
  return big_endian(static_cast<uint32_t>(data.size())) + body +
         big_endian(static_cast<uint32_t>(crc));
}

/// `packed`: the compressed pixels; `more`: chunks before them.
inline std::string png_of_packed(uint32_t width, uint32_t height, int depth, int colour,
                                 const std::string& packed, const std::string& more = "") {
  const std::string header = big_endian(width) + big_endian(height) + static_cast<char>(depth) +
                             static_cast<char>(colour) + std::string(3, '\0');
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + more + png_chunk("IDAT", packed) +
         png_chunk("IEND", "");
}

/// `rows`: the packed bytes of the pixels without filter bytes.
inline std::string png_bytes(uint32_t width, uint32_t height, int depth, int colour,
                             const std::string& rows, const std::string& more = "") {
  std::string filtered;
  const size_t row = rows.size() / height;
  for (uint32_t y = 0; y < height; ++y) filtered += '\0' + rows.substr(y * row, row);
  uLongf size = compressBound(filtered.size());
  std::string packed(size, ' ');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(filtered.data()), filtered.size());
  packed.resize(size);
  return png_of_packed(width, height, depth, colour, packed, more);
}

/// `pixels`: interleaved, 1 (gray), 3 (RGB) or 4 (CMYK) bytes each.
inline std::string jpeg_bytes(uint32_t width, uint32_t height, int channels, std::string pixels) {
  jpeg_error_mgr errors;
  jpeg_compress_struct jpeg;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &out, &size);
  jpeg.image_width = width;
  jpeg.image_height = height;
  jpeg.input_components = channels;
  jpeg.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 95, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  for (uint32_t y = 0; y < height; ++y) {
    JSAMPROW row = reinterpret_cast<unsigned char*>(pixels.data()) + y * width * channels;
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::string bytes(reinterpret_cast<char*>(out), size);
  jpeg_destroy_compress(&jpeg);
  free(out);
  return bytes;
}
