// The registry's datasets.  Options hold what the spec said, plus "split": "train" or "test".  All
// throw Error on bad data.
#pragma once

#include <string>

#include "tweedie/base/json.h"
#include "tweedie/datasets/dataset.h"

namespace tweedie {

Dataset make_fashion_mnist(
    const Json& options);               // the files of Debian's dataset-fashion-mnist, or path=DIR
Dataset make_idx(const Json& options);  // path: an images file (gz or not); labels found beside it
                                        // or labels=PATH
Dataset make_image_folder(
    const Json& options);  // path: PNG and JPEG files; sub-folders are classes
Dataset make_toy(
    const Json& options);  // path: swiss-roll, two-moons, checkerboard, rings, gaussian-mixture
Dataset make_cifar(const Json& options);  // path: folder of CIFAR-10's or -100's binary version
Dataset make_array(const Json& options);  // path: .npy or .npz
Dataset make_table(const Json& options);  // path: comma-separated values
Dataset make_tar(const Json& options);    // path: shards of PNG and JPEG files, as WebDataset's

std::string array_options_help();
std::string cifar_options_help();
std::string table_options_help();
std::string tar_options_help();
std::string fashion_mnist_options_help();
std::string idx_options_help();
std::string image_folder_options_help();
std::string toy_options_help();

}  // namespace tweedie
