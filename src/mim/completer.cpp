#include "mim/completer.h"

#include "base/error.h"
#include "mim/decoder.h"
#include "mim/regressor.h"

namespace lacuna {

void CompleterConfig::fields(Fields& f) {
  f.add("kind", kind, kCompleterKinds, {.help = "how masked latents are made from visible ones"});
  f.add("depth", depth,
        {.help = "number of the completer's blocks",
         .unit = "blocks",
         .min = 0,
         .max = 64,
         .aliases = {"regressor_depth", "decoder_depth"}});
  f.add("width", width,
        {.help = "width of the completer; auto is the encoder's, another value adds an adapter to a regressor",
         .unit = "channels",
         .min = 4,
         .max = 65536,
         .aliases = {"adapter_width"}});
  f.add("heads", heads, {.help = "attention heads of the completer", .min = 1, .max = 1024});
  f.add("layer_scale", layer_scale,
        {.help = "initial layer scale of the completer; auto is none", .min = 0, .above_min = true});
  f.add("drop_path", drop_path,
        {.help = "largest stochastic depth rate of the completer", .min = 0, .max = 1, .below_max = true});
  f.add("final_norm", final_norm, {.help = "normalise the completer's output"});
}

std::shared_ptr<Completer> build_completer(const CompleterConfig& c, int64_t grid, int64_t encoder_width,
                                           bool painted) {
  if (c.kind == CompleterKind::kNone) return nullptr;
  check(!painted || c.kind == CompleterKind::kDecoder,
        "completer.kind: the student paints mask tokens and so predicts masked patches itself (student.mode=paint); "
        "only none and decoder fit it. Set completer.kind=none, or student.mode=drop");
  const int64_t width = c.width.value_or(encoder_width);
  check(width % c.heads == 0, "completer: width ", width, " is not divisible into ", c.heads,
        " heads; set completer.heads or completer.width");
  check(width % 4 == 0, "completer: its fixed positions need a width divisible by 4, found ", width,
        "; set completer.width");
  switch (c.kind) {
    case CompleterKind::kRegressor:
      return std::make_shared<Regressor>(c, grid, encoder_width);
    case CompleterKind::kDecoder:
      return std::make_shared<Decoder>(c, grid, encoder_width, painted);
    case CompleterKind::kPrompting:
      return std::make_shared<PromptingDecoder>(c, grid, encoder_width);
    case CompleterKind::kNone:
      break;
  }
  return nullptr;
}

}  // namespace lacuna
