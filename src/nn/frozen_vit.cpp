#include "nn/frozen_vit.h"

#include "base/error.h"
#include "io/files.h"
#include "nn/backbone.h"
#include "nn/vit_config_files.h"
#include "nn/vit_resize.h"
#include "nn/weight_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// A file understood: what it is, how large, and what it expects.
struct Opened {
  TensorFile file;
  NamedVit named;
  DescribedVit described;
};

Opened understand(const fs::path& path) {
  TensorFile file(find_weights(path));
  const std::optional<NamedVit> named = recognize(file);
  if (!named) {
    std::string known;
    for (const Family& family : vit_families()) known += (known.empty() ? "" : ", ") + family.name;
    fail(file.path().string(), ": no known vision transformer; expected the tensor names of one of: ", known,
         file.names().empty() ? "" : "; it starts with '" + printable(file.names()[0]) + "'");
  }
  const fs::path folder = file.path().has_parent_path() ? file.path().parent_path() : fs::path(".");
  DescribedVit described = describe(folder, *named, measure(file, *named));
  return {std::move(file), *named, std::move(described)};
}

// Positions for the patches alone: the class token's row is zero.
void place_positions(NamedTensors& tensors, const VitMeasures& measures) {
  if (measures.positions_of_class || measures.vit.positions == Positions::kNone || !measures.vit.class_token) return;
  for (auto& [name, tensor] : tensors) {
    if (name != "vit.pos_embed") continue;
    tensor.slice(1, 0, 1).zero_();
    tensor = tensor.slice(1, 1);
  }
}

void fill(const Opened& opened, NamedTensors tensors) {
  const at::NoGradGuard no_grad;
  const VitMeasures& measures = opened.described.measures;
  place_positions(tensors, measures);
  import_weights(opened.file, key_map(opened.named, measures.vit, tensors), tensors);
}

FrozenVit open_our_own(const fs::path& path) {
  const Backbone backbone = open_backbone(path);
  return {.vit = backbone.vit,
          .stats = backbone.config.stats,
          .kernel = backbone.config.kernel,
          .family = "lacuna",
          .path = backbone.origin,
          .notes = {}};
}

FrozenVit open_foreign(const fs::path& path) {
  const Opened opened = understand(path);
  const DescribedVit& d = opened.described;
  FrozenVit out{.vit = Vit(d.measures.vit),
                .stats = d.pixels.stats,
                .kernel = d.pixels.kernel,
                .family = opened.named.family->name,
                .path = opened.file.path(),
                .notes = d.notes};
  NamedTensors tensors = named_tensors(*out.vit, "vit.");
  if (d.measures.embed > 0) {
    out.projection = Linear(d.measures.vit.width, d.measures.embed, /*bias=*/false);
    tensors.emplace_back("projection.weight", out.projection->weight);
  }
  fill(opened, std::move(tensors));
  return out;
}

}  // namespace

FrozenVit open_frozen_vit(const fs::path& path, std::optional<int64_t> image_side, PositionResize how) {
  FrozenVit out = is_our_own(path) ? open_our_own(path) : open_foreign(path);
  if (image_side && *image_side != out.vit->config().image_side) out.vit = resized(out.vit, *image_side, how);
  out.vit->eval();
  return out;
}

FrozenClassifier open_classifier(const fs::path& path) {
  const Opened opened = understand(path);
  const DescribedVit& d = opened.described;
  check(d.measures.known_head, opened.file.path().string(),
        ": the classification head does not take the features of one token; only plain linear heads are read");
  FrozenClassifier out{.model = Classifier(d.measures.vit, d.measures.head),
                       .stats = d.pixels.stats,
                       .kernel = d.pixels.kernel,
                       .family = opened.named.family->name,
                       .notes = d.notes};
  fill(opened, named_tensors(*out.model));
  out.model->eval();
  return out;
}

}  // namespace lacuna
