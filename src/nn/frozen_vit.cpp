#include "nn/frozen_vit.h"

#include "base/error.h"
#include "nn/backbone.h"
#include "nn/vit_resize.h"
#include "nn/weights/class_labels.h"
#include "nn/weights/foreign_vit.h"
#include "nn/weights/hub_cache.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// Positions for the patches alone: the class token's row is zero.
void place_positions(NamedTensors& tensors, const VitMeasures& measures) {
  if (measures.positions_of_class || measures.vit.positions == Positions::kNone || !measures.vit.class_token) return;
  for (auto& [name, tensor] : tensors) {
    if (name != "vit.pos_embed") continue;
    tensor.slice(1, 0, 1).zero_();
    tensor = tensor.slice(1, 1);
  }
}

void fill(const ForeignVit& opened, NamedTensors tensors) {
  const at::NoGradGuard no_grad;
  const VitMeasures& measures = opened.described.measures;
  place_positions(tensors, measures);
  import_weights(opened.file, opened.rules(tensors), tensors);
}

FrozenVit open_our_own(const fs::path& path) {
  const Backbone backbone = open_backbone(path);
  return {.vit = backbone.vit,
          .stats = backbone.config.stats,
          .kernel = backbone.config.kernel,
          .framing = {},
          .family = "lacuna",
          .path = backbone.origin,
          .notes = {}};
}

FrozenVit open_foreign(const fs::path& path, std::optional<Activation> activation) {
  const ForeignVit opened = understand(path, activation);
  const DescribedVit& d = opened.described;
  FrozenVit out{.vit = Vit(d.measures.vit),
                .stats = d.pixels.stats,
                .kernel = d.pixels.kernel,
                .framing = d.pixels.framing,
                .family = opened.named.family->name,
                .path = opened.file.path(),
                .notes = d.notes};
  NamedTensors tensors = named_tensors(*out.vit, "vit.");
  if (d.measures.embed > 0) {
    out.projection = Linear(d.measures.vit.width, d.measures.embed, d.measures.embed_bias);
    for (const auto& each : named_tensors(*out.projection, "projection.")) tensors.push_back(each);
  }
  fill(opened, std::move(tensors));
  return out;
}

}  // namespace

FrozenVit open_frozen_vit(const fs::path& asked, const OpenAs& how) {
  const fs::path named = resolve_model(asked), exported = named / "export";
  // A run that trained a CLIP exports a CLIP's folder, which holds more than the backbone.
  const fs::path path = fs::exists(exported) && !is_our_own(exported) ? exported : named;
  const bool own = is_our_own(path);
  check(!own || !how.activation, path.string(), ": was written by this program and says its activation itself");
  FrozenVit out = own ? open_our_own(path) : open_foreign(path, how.activation);
  const int64_t side = out.vit->config().image_side;
  if (how.image_side && *how.image_side != side) {
    out.vit = resized(out.vit, *how.image_side, how.positions, how.biases);
    out.framing = scaled(out.framing, side, *how.image_side);
  }
  out.vit->eval();
  return out;
}

FrozenVit open_frozen_vit(const fs::path& path, std::optional<int64_t> image_side, PositionResize how) {
  return open_frozen_vit(path, OpenAs{.image_side = image_side, .positions = how});
}

FrozenClassifier open_classifier(const fs::path& path) {
  const ForeignVit opened = understand(path);
  const DescribedVit& d = opened.described;
  check(d.measures.known_head, opened.file.path().string(),
        ": the classification head does not take the features of one token; only plain linear heads are read");
  FrozenClassifier out{.model = Classifier(d.measures.vit, d.measures.head),
                       .stats = d.pixels.stats,
                       .kernel = d.pixels.kernel,
                       .framing = d.pixels.framing,
                       .family = opened.named.family->name,
                       .labels = read_class_labels(opened.file.path().parent_path(), d.measures.head.classes),
                       .notes = d.notes};
  fill(opened, named_tensors(*out.model));
  out.model->eval();
  return out;
}

}  // namespace lacuna
