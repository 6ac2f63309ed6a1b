#include "nn/weights/model_facts.h"

#include <functional>

#include "base/error.h"
#include "nn/backbone.h"
#include "nn/clip_towers.h"
#include "nn/dvae.h"
#include "nn/frozen_vit.h"
#include "nn/vqkd.h"
#include "nn/weights/foreign_vit.h"
#include "nn/weights/hub_cache.h"
#include "nn/weights/weight_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// What `open` complains of; empty when it works.
std::string fault_of(const std::function<void()>& open) {
  try {
    open();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void count(const TensorFile& file, ModelFacts& facts) {
  facts.weights = file.path();
  facts.format = file.format();
  for (const std::string& name : file.names()) {
    const TensorInfo& tensor = file.at(name);
    ++facts.tensors;
    facts.elements += static_cast<int64_t>(tensor.data.size() / dtype_size(tensor.dtype));
    ++facts.dtypes[std::string(dtype_name(tensor.dtype))];
  }
}

void describe_vit(const FrozenVit& frozen, ModelFacts& facts) {
  facts.family = frozen.family;
  facts.vit = frozen.vit->config();
  facts.parameters = parameter_count(*frozen.vit);
  facts.projected = frozen.projection ? frozen.projection->weight.size(0) : 0;
  facts.pixels = Preprocessing{.stats = frozen.stats,
                               .kernel = frozen.kernel,
                               .framing = frozen.framing,
                               .side = frozen.vit->config().image_side};
  facts.notes = frozen.notes;
}

// Tensors that the vision transformer does without.
void list_unneeded(const ForeignVit& foreign, const FrozenVit& frozen, ModelFacts& facts) {
  NamedTensors tensors = named_tensors(*frozen.vit, "vit.");
  if (frozen.projection) {
    for (const auto& each : named_tensors(*frozen.projection, "projection.")) tensors.push_back(each);
  }
  facts.unneeded = unneeded_tensors(foreign.file, foreign.rules(tensors));
}

void look_into_foreign(const fs::path& path, ModelFacts& facts) {
  const TensorFile file = open_weights(path);
  count(file, facts);
  if (const std::optional<NamedVit> named = recognize(file)) facts.family = named->family->name;
  const auto opens = [&](const char* name, const std::function<void()>& open) {
    facts.uses.push_back({name, fault_of(open)});
    return facts.uses.back().why_not.empty();
  };
  opens("teacher (kind=vit)", [&] {
    const FrozenVit frozen = open_frozen_vit(path);
    describe_vit(frozen, facts);
    list_unneeded(understand(path), frozen, facts);
  });
  if (facts.projected > 0) facts.uses.back().name = "teacher (kind=clip or vit)";
  if (facts.vit) opens("classifier", [&] { open_classifier(path); });
  if (facts.projected > 0) opens("image-text model (both towers)", [&] { read_clip(path); });
  if (!facts.family.empty()) return;  // a vision transformer, and as such no tokenizer
  if (opens("tokenizer of BEiT v2 (teacher kind=vqkd)", [&] { facts.notes = open_vqkd(path).notes; }))
    facts.family = vqkd_family().name;
  if (opens("encoder of DALL-E's dVAE (teacher kind=dvae)", [&] { open_dvae(path); })) facts.family = "DALL-E's dVAE";
}

void look_into_our_own(const fs::path& path, ModelFacts& facts) {
  facts.family = "lacuna";
  const std::string fault = fault_of([&] {
    const FrozenVit frozen = open_frozen_vit(path);
    describe_vit(frozen, facts);
    for (const char* name : {"model.safetensors", "state.safetensors"}) {
      if (fs::exists(frozen.path / name)) count(TensorFile(frozen.path / name), facts);
    }
  });
  facts.uses = {{"teacher (kind=vit)", fault}, {"evaluation backbone", fault}};
}

}  // namespace

ModelFacts look_into(const fs::path& named) {
  const fs::path path = resolve_model(named);
  ModelFacts facts;
  if (is_our_own(path)) {
    look_into_our_own(path, facts);
  } else {
    look_into_foreign(path, facts);
  }
  return facts;
}

}  // namespace lacuna
