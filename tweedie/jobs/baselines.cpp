#include "tweedie/jobs/baselines.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include <jxl/encode.h>
#include <lzma.h>
#include <webp/encode.h>

#include "tweedie/base/clock.h"
#include "tweedie/base/error.h"
#include "tweedie/base/spread.h"
#include "tweedie/tensor/image.h"

namespace tweedie {
namespace {

constexpr int64_t kLevels = 256;

/// uint8 [n, C, H, W] of the examples named.
Tensor pixels_of(const Dataset& data, const std::vector<int64_t>& indices) {
  std::vector<Tensor> parts;
  for (size_t from = 0; from < indices.size(); from += 1000) {
    const size_t count = std::min<size_t>(1000, indices.size() - from);
    parts.push_back(
        to_pixels(data.get(at::ArrayRef<int64_t>(&indices[from], count)).x).to(at::kByte));
  }
  return torch::cat(parts);
}

/// The model that takes every pixel to be independent of the others: one histogram for each place,
/// with one count added to every value so that nothing is impossible.
Baseline independent_pixels(const Dataset& train, const Tensor& test) {
  const int64_t dims = test[0].numel();
  const Tensor place = torch::arange(dims, torch::kLong) * kLevels;
  Tensor counts = torch::ones({dims * kLevels}, torch::kDouble);
  for (int64_t from = 0; from < train.size; from += 1000) {
    std::vector<int64_t> indices(static_cast<size_t>(std::min<int64_t>(1000, train.size - from)));
    std::iota(indices.begin(), indices.end(), from);
    const Tensor pixels = pixels_of(train, indices).flatten(1).to(torch::kLong);  // [n, dims]
    counts += torch::bincount((pixels + place).flatten(), {}, dims * kLevels).to(torch::kDouble);
  }
  const Tensor bits = -(counts / static_cast<double>(train.size + kLevels)).log2();
  const Tensor per_image = bits.index({(test.flatten(1).to(torch::kLong) + place)}).mean(1);  // [n]
  const double n = static_cast<double>(test.size(0));
  return {"independent pixels", per_image.mean().item<double>(),
          n > 1 ? per_image.std().item<double>() / std::sqrt(n) : std::nan(""),
          "every pixel drawn from its own histogram of the training images, knowing nothing of its "
          "neighbours"};
}

/// All images in one near-square picture, blank cells black: [H, W, C], contiguous.
Tensor mosaic_of(const Tensor& images) {
  const int64_t n = images.size(0), channels = images.size(1), height = images.size(2),
                width = images.size(3);
  const int64_t columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(n))));
  const int64_t rows = (n + columns - 1) / columns;
  const Tensor blank = torch::zeros({rows * columns - n, channels, height, width}, torch::kByte);
  return torch::cat({images, blank})
      .view({rows, columns, channels, height, width})
      .permute({0, 3, 1, 4, 2})
      .contiguous()
      .view({rows * height, columns * width, channels});
}

size_t webp_bytes(const Tensor& mosaic) {
  const Tensor rgb = mosaic.expand({-1, -1, 3}).contiguous();
  WebPConfig config;
  WebPPicture picture;
  check(
      WebPConfigInit(&config) && WebPConfigLosslessPreset(&config, 9) && WebPPictureInit(&picture),
      "baselines: this WebP library is of another version than the program was built with");
  picture.use_argb = 1;
  picture.height = static_cast<int>(rgb.size(0));
  picture.width = static_cast<int>(rgb.size(1));
  check(std::max(picture.width, picture.height) <= WEBP_MAX_DIMENSION,
        "baselines: the images together are ", picture.width, " x ", picture.height,
        " pixels, WebP takes ", WEBP_MAX_DIMENSION, " at most; pass a smaller --limit");
  WebPMemoryWriter writer;
  WebPMemoryWriterInit(&writer);
  picture.writer = WebPMemoryWrite;
  picture.custom_ptr = &writer;
  const bool done = WebPPictureImportRGB(&picture, rgb.data_ptr<uint8_t>(), picture.width * 3) &&
                    WebPEncode(&config, &picture);
  const size_t bytes = writer.size;
  const int error = picture.error_code;
  WebPMemoryWriterClear(&writer);
  WebPPictureFree(&picture);
  check(done, "baselines: WebP failed with its error ", error);
  return bytes;
}

size_t jxl_bytes(const Tensor& mosaic) {
  const std::unique_ptr<JxlEncoder, decltype(&JxlEncoderDestroy)> encoder(JxlEncoderCreate(nullptr),
                                                                          &JxlEncoderDestroy);
  const uint32_t channels = static_cast<uint32_t>(mosaic.size(2));
  JxlBasicInfo info;
  JxlEncoderInitBasicInfo(&info);
  info.xsize = static_cast<uint32_t>(mosaic.size(1));
  info.ysize = static_cast<uint32_t>(mosaic.size(0));
  info.bits_per_sample = 8;
  info.num_color_channels = channels;
  info.uses_original_profile = JXL_TRUE;
  JxlColorEncoding colour;
  JxlColorEncodingSetToSRGB(&colour, channels == 1);
  bool good = JxlEncoderSetBasicInfo(encoder.get(), &info) == JXL_ENC_SUCCESS &&
              JxlEncoderSetColorEncoding(encoder.get(), &colour) == JXL_ENC_SUCCESS;
  JxlEncoderFrameSettings* settings = JxlEncoderFrameSettingsCreate(encoder.get(), nullptr);
  const JxlPixelFormat format{channels, JXL_TYPE_UINT8, JXL_NATIVE_ENDIAN, 0};
  good = good && JxlEncoderSetFrameLossless(settings, JXL_TRUE) == JXL_ENC_SUCCESS &&
         JxlEncoderFrameSettingsSetOption(settings, JXL_ENC_FRAME_SETTING_EFFORT, 7) ==
             JXL_ENC_SUCCESS &&
         JxlEncoderAddImageFrame(settings, &format, mosaic.data_ptr<uint8_t>(),
                                 static_cast<size_t>(mosaic.numel())) == JXL_ENC_SUCCESS;
  JxlEncoderCloseInput(encoder.get());
  size_t bytes = 0;
  std::vector<uint8_t> buffer(1 << 20);
  for (JxlEncoderStatus status = JXL_ENC_NEED_MORE_OUTPUT; good && status != JXL_ENC_SUCCESS;) {
    uint8_t* next = buffer.data();
    size_t room = buffer.size();
    status = JxlEncoderProcessOutput(encoder.get(), &next, &room);
    bytes += buffer.size() - room;
    good = status != JXL_ENC_ERROR;
  }
  check(good, "baselines: JPEG XL could not encode the images");
  return bytes;
}

size_t xz_bytes(const Tensor& images) {
  const size_t size = static_cast<size_t>(images.numel());
  std::vector<uint8_t> out(lzma_stream_buffer_bound(size));
  size_t bytes = 0;
  const lzma_ret status = lzma_easy_buffer_encode(9 | LZMA_PRESET_EXTREME, LZMA_CHECK_CRC32,
                                                  nullptr, images.contiguous().data_ptr<uint8_t>(),
                                                  size, out.data(), &bytes, out.size());
  check(status == LZMA_OK, "baselines: xz failed with its error ", static_cast<int>(status));
  return bytes;
}

}  // namespace

BaselinesResult measure_baselines(const Dataset& train, const Dataset& test,
                                  const BaselinesRequest& request) {
  const auto started = Clock::now();
  check(test.levels == kLevels && test.shape.size() == 3 &&
            (test.shape[0] == 1 || test.shape[0] == 3),
        "baselines: need 8-bit images with 1 or 3 channels; the data '", test.name, "' has shape ",
        at::IntArrayRef(test.shape), " and ", test.levels, " values per dimension (0: continuous)");
  check(train.shape == test.shape && train.levels == test.levels,
        "baselines: training and test images differ in shape");
  check(request.limit >= 0, "baselines: --limit ", request.limit, "; expected 1 or more");
  const int64_t n = request.limit > 0 ? std::min(request.limit, test.size) : test.size;
  const Tensor images = pixels_of(test, spread_places(n, test.size));
  const Tensor mosaic = mosaic_of(images);
  const double dims = static_cast<double>(images.numel());
  BaselinesResult result{{}, n, images[0].numel(), 0};
  const auto add = [&](Baseline baseline) {
    if (request.log) request.log("measured " + baseline.name);
    result.baselines.push_back(std::move(baseline));
  };
  add(independent_pixels(train, images));
  add({"lossless WebP", 8.0 * static_cast<double>(webp_bytes(mosaic)) / dims, std::nan(""),
       "all images in one picture, slowest preset"});
  add({"xz", 8.0 * static_cast<double>(xz_bytes(images)) / dims, std::nan(""),
       "a general compressor on the raw bytes, its strongest preset"});
  add({"lossless JPEG XL", 8.0 * static_cast<double>(jxl_bytes(mosaic)) / dims, std::nan(""),
       "all images in one picture, effort 7"});
  result.seconds = seconds_since(started);
  return result;
}

Json to_json(const BaselinesResult& result) {
  Json out = {{"images", result.images}, {"dims", result.dims}, {"baselines", Json::array()}};
  for (const Baseline& baseline : result.baselines)
    out["baselines"].push_back({{"name", baseline.name},
                                {"bits_per_dim", baseline.bits_per_dim},
                                {"bits_per_dim_standard_error", baseline.bits_per_dim_error},
                                {"meaning", baseline.meaning}});
  out["seconds"] = result.seconds;
  return out;
}

}  // namespace tweedie
