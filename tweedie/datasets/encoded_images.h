// Images that stay encoded until they are asked for: what folders and tar files of them share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tweedie/datasets/dataset.h"
#include "tweedie/tensor/image.h"

namespace tweedie {

struct EncodedImageOptions {
  std::string path;
  int64_t size = 0;
  bool flip = true;
  double holdout = 0.1;
  template <class Visit>
  void common_fields(Visit&& visit) {
    visit("size", size, "cut the central square and resize it to this many pixels; 0: as they are");
    visit("flip", flip, "whether a mirrored image is as probable as the image");
    visit("holdout", holdout, "fraction kept for the test split, where it is not kept apart");
  }
};

struct EncodedImages {
  std::string name;
  int64_t count = 0;
  std::vector<int64_t> size;  // {C, H, W, levels} of every one, resized
  int64_t resized = 0;        // side, 0: as they are
  bool flip = true;
  std::vector<std::string> classes;
  std::function<Image(int64_t)> read;         // of one, not resized; from any thread
  std::function<std::string(int64_t)> where;  // of one, for messages
  std::function<int64_t(int64_t)> label;      // of one, where there are classes
};

/// Decodes what is asked for, to [-1, 1].  Throws Error if one is not of the size of all.
Dataset dataset_of(EncodedImages images);

}  // namespace tweedie
