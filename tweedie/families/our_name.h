// Names of our U-Net's parameters, taken apart; numbers of configurations, kept in bounds.
#pragma once

#include <map>
#include <string>

namespace tweedie {

/// "up_blocks.1.resnets.2.conv1.weight": the stage up_blocks.1, in it resnets.2, of that
/// conv1.weight.
struct OurName {
  std::string way;  // "down_blocks", "mid_block", "up_blocks"; empty outside the stages
  int64_t stage = 0;
  std::string kind;    // "resnets", "attentions", "downsamplers", "upsamplers", "skip_conv", ...
  int64_t number = 0;  // of its kind in the stage
  std::string layer;   // "conv1", "to_q", "to_out.0", "linear_1"
  std::string what;    // "weight" or "bias"
};
OurName parse_our_name(const std::string& name);

/// The layer's name by a table; throws Error if it has none: a layer that the other library lacks.
std::string renamed(const std::map<std::string, std::string>& names, const std::string& layer,
                    const std::string& whole);

/// Throws Error unless a configuration's number lies between the two.
void within(int64_t value, int64_t least, int64_t most, const char* name);

/// 0, 1 or 2 for to_q, to_k and to_v, else -1.
int64_t qkv_part(const std::string& layer);

}  // namespace tweedie
