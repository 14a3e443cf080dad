// PyTorch's checkpoints, .pt, .pth and .bin: a ZIP archive of storages and one pickle, of which
// nothing is executed.
#pragma once

#include <string>

#include "tweedie/tensor/safetensors.h"
#include "tweedie/tensor/tensor_bytes.h"

namespace tweedie {

/// The tensors of what torch.save wrote (PyTorch 1.6 and later): dictionaries and lists become
/// names with dots, numbers and texts metadata.  Throws Error on anything but tensors, parameters,
/// dictionaries, lists, tuples, numbers and texts: a pickle that names any other function or class
/// is refused by that name.  Tensors are parts of the file, as with read_safetensors.
TensorFile read_torch_file(const std::string& path);

/// The same of bytes; `where` is for messages.
TensorFile parse_torch_file(const OwnedBytes& file, const std::string& where);

}  // namespace tweedie
