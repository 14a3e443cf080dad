// GIF by giflib.
#include <cmath>

#include <gif_lib.h>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/tensor/image.h"
#include "tweedie/tensor/palette.h"

namespace tweedie {
namespace {

int append_bytes(GifFileType* gif, const GifByteType* bytes, int count) {
  static_cast<std::string*>(gif->UserData)
      ->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
  return count;
}

/// giflib's writer, closed however the function that uses it ends.
struct Writer {
  const std::string& path;
  std::string out;
  int error = 0;
  GifFileType* gif;

  explicit Writer(const std::string& name) : path(name), gif(EGifOpen(&out, append_bytes, &error)) {
    check(gif, path, ": cannot be made a GIF: ", GifErrorString(error));
    EGifSetGifVersion(gif, true);
  }
  ~Writer() {
    if (gif) EGifCloseFile(gif, nullptr);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void expect(int status) const {
    check(status == GIF_OK, path, ": cannot be made a GIF: ", GifErrorString(gif->Error));
  }
  void close() {
    GifFileType* closing = gif;
    gif = nullptr;
    check(EGifCloseFile(closing, &error) == GIF_OK, path,
          ": cannot be made a GIF: ", GifErrorString(error));
  }
};

void write_screen(Writer& writer, const std::vector<Colour>& colours, int width, int height) {
  int size = 2;  // a palette has a power of two of entries
  while (size < static_cast<int>(colours.size())) size *= 2;
  std::vector<GifColorType> entries(static_cast<size_t>(size));
  for (size_t i = 0; i < colours.size(); ++i)
    entries[i] = {colours[i][0], colours[i][1], colours[i][2]};
  const std::unique_ptr<ColorMapObject, void (*)(ColorMapObject*)> map(
      GifMakeMapObject(size, entries.data()), GifFreeMapObject);
  check(map != nullptr, writer.path, ": no memory for the palette");
  writer.expect(EGifPutScreenDesc(writer.gif, width, height, map->BitsPerPixel, 0, map.get()));
}

/// The extension that browsers read as "loop for ever".
void write_loop(Writer& writer) {
  const unsigned char for_ever[] = {1, 0, 0};
  writer.expect(EGifPutExtensionLeader(writer.gif, APPLICATION_EXT_FUNC_CODE));
  writer.expect(EGifPutExtensionBlock(writer.gif, 11, "NETSCAPE2.0"));
  writer.expect(EGifPutExtensionBlock(writer.gif, 3, for_ever));
  writer.expect(EGifPutExtensionTrailer(writer.gif));
}

}  // namespace

void write_gif(const std::string& path, const std::vector<at::Tensor>& frames,
               double seconds_per_frame) {
  check(!frames.empty(), path, ": an animation needs at least one frame");
  for (const at::Tensor& frame : frames) {
    check(frame.dim() == 3 && frame.scalar_type() == at::kByte && frame.numel() > 0 &&
              (frame.size(0) == 1 || frame.size(0) == 3),
          path, ": a frame of a GIF is uint8 [C, H, W] with C = 1 or 3, got ",
          c10::toString(frame.scalar_type()), " ", frame.sizes());
    check(frame.sizes() == frames[0].sizes(), path,
          ": the frames differ in shape: ", frames[0].sizes(), " and ", frame.sizes());
  }
  check(frames[0].size(1) <= 65535 && frames[0].size(2) <= 65535, path,
        ": a GIF has at most 65535 pixels a side, got ", frames[0].sizes());
  check(seconds_per_frame >= 0.01 && seconds_per_frame <= 655, path,
        ": a frame of a GIF lasts 0.01 to 655 seconds, got ", seconds_per_frame);
  const int height = static_cast<int>(frames[0].size(1)),
            width = static_cast<int>(frames[0].size(2));

  Paletted paletted = reduce_colours(frames);
  Writer writer(path);
  write_screen(writer, paletted.palette, width, height);
  write_loop(writer);
  const GraphicsControlBlock control = {DISPOSE_DO_NOT, false,
                                        static_cast<int>(std::lround(seconds_per_frame * 100)),
                                        NO_TRANSPARENT_COLOR};
  GifByteType control_bytes[4];
  const size_t control_size = EGifGCBToExtension(&control, control_bytes);
  for (std::vector<uint8_t>& pixels : paletted.frames) {
    writer.expect(EGifPutExtension(writer.gif, GRAPHICS_EXT_FUNC_CODE,
                                   static_cast<int>(control_size), control_bytes));
    writer.expect(EGifPutImageDesc(writer.gif, 0, 0, width, height, false, nullptr));
    for (int row = 0; row < height; ++row)
      writer.expect(
          EGifPutLine(writer.gif, pixels.data() + static_cast<int64_t>(row) * width, width));
  }
  writer.close();
  write_file_atomically(path, writer.out);
}

}  // namespace tweedie
