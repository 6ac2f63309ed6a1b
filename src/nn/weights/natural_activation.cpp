#include "nn/weights/natural_activation.h"

#include <algorithm>
#include <cctype>

namespace lacuna {
namespace {

std::string lower(std::string text_in) {
  std::transform(text_in.begin(), text_in.end(), text_in.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text_in;
}

}  // namespace

std::optional<NaturalActivation> natural_activation(const TensorFile& file, const std::string& named) {
  const auto code = file.metadata().find("torchscript.quick_gelu");
  if (code != file.metadata().end() && code->second == "true")
    return NaturalActivation{Activation::kQuickGelu, "the archive's own code computes QuickGELU"};
  if (file.has("input_resolution") && file.has("context_length"))
    return NaturalActivation{Activation::kQuickGelu,
                             "the file holds the numbers of OpenAI's archives, whose networks compute QuickGELU"};
  const std::string name = lower(named);
  for (const char* origin : {"openai/clip-", "models--openai--clip-"}) {
    if (name.find(origin) != std::string::npos)
      return NaturalActivation{Activation::kQuickGelu, "it is named after OpenAI's CLIP, which computes QuickGELU"};
  }
  if (name.find("laion2b") != std::string::npos)
    return NaturalActivation{Activation::kGelu,
                             "it is named after a CLIP trained on LAION-2B, all of which compute GELU"};
  return std::nullopt;
}

bool half_converted(const TensorFile& file) {
  const auto is = [&](const char* name, DType dtype) { return file.has(name) && file.at(name).dtype == dtype; };
  return is("visual.conv1.weight", DType::kF16) && is("visual.ln_post.weight", DType::kF32);
}

}  // namespace lacuna
