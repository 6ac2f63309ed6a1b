#include "cli/run_init.h"

#include <map>
#include <set>

#include "base/error.h"
#include "base/join.h"
#include "cli/export_source.h"
#include "nn/shapes.h"
#include "nn/weights/portable.h"
#include "nn/weights/vit_fields.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVit = "student.vit.";
constexpr size_t kNamesShown = 4;

// "student.completer", "objective.target", "text": what is used or left as a whole.
std::string part_of(const std::string& name) {
  const size_t first = name.find('.');
  if (first == std::string::npos || name.starts_with("text.")) return name.substr(0, first);
  return name.substr(0, name.find('.', first + 1));
}

std::string some(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < kNamesShown; ++i) out += (i > 0 ? ", " : "") + names[i];
  return names.size() > kNamesShown ? out + text(", and ", names.size() - kNamesShown, " more") : out;
}

template <class Value>
void check_equal(const fs::path& path, const char* key, const Value& theirs, const Value& ours) {
  check(theirs == ours, "init: ", path.string(), " has student.", key, " = ", theirs, ", but this run has ", ours,
        "; set student.", key, " = ", theirs);
}

// What no shape shows, and what makes the plainest message.
void check_network(const fs::path& path, const VitConfig& theirs, const VitConfig& ours) {
  check(theirs.channels == ours.channels || theirs.channels == 3, "init: ", path.string(), " sees ", theirs.channels,
        " channels, but the student sees ", ours.channels, "; choose them by data.bands");
  check_equal(path, "width", theirs.width, ours.width);
  check_equal(path, "depth", theirs.depth, ours.depth);
  check_equal(path, "heads", theirs.heads, ours.heads);
  check_equal(path, "patch_side", theirs.patch_side, ours.patch_side);
  check_equal(path, "image_side", theirs.image_side, ours.image_side);
  check_equal(path, "norm_eps", theirs.norm_eps, ours.norm_eps);
  check_equal(path, "activation", name_of(kActivations, theirs.activation), name_of(kActivations, ours.activation));
  check_equal(path, "relative_bias", name_of(kRelativeBiases, theirs.relative_bias),
              name_of(kRelativeBiases, ours.relative_bias));
}

// Rewrites the network as the student is built. A fixed table of positions is checked and left out.
void shape_like(PortableVit& net, Vit student, const fs::path& path) {
  const VitConfig& c = student->config();
  if (c.qkv_bias == QkvBias::kAll) fill_attention_bias(net);
  if (c.qkv_bias == QkvBias::kQueryValue) drop_key_bias(net);
  if (c.patch_bias) fill_patch_bias(net);
  if (c.layer_scale) fill_layer_scale(net);
  if (c.positions == Positions::kLearned) return learn_positions(net);
  const at::Tensor* table = find(net.tensors, "vit.pos_embed");
  check((table != nullptr) == student->pos_embed.defined(), "init: ", path.string(),
        table ? " has a table of positions, and the student has none" : " has no positions, and the student has some",
        "; set student.positions");
  if (table == nullptr) return;
  check(table->sizes() == student->pos_embed.sizes() && table->allclose(student->pos_embed.cpu(), 0, 1e-5),
        "init: ", path.string(), " has other positions than the student's fixed ones; set student.positions=learned");
  std::erase_if(net.tensors, [](const auto& t) { return t.first == "vit.pos_embed"; });
}

struct Given {
  NamedTensors model, extra;  // without "model." and "extra."
};

// A patch embedding of three channels for a student of I others: its columns in turn, scaled by 3 / I, as timm's
// adapt_input_conv; their sum for one channel.
void spread_channels(NamedTensors& tensors, const VitConfig& theirs, const VitConfig& ours) {
  if (theirs.channels == ours.channels) return;
  for (auto& [name, tensor] : tensors) {
    if (name != std::string(kVit) + "patch_embed.weight") continue;
    const at::Tensor columns = tensor.unflatten(1, {3, -1});  // [D,3,PP]
    const at::Tensor turns = at::arange(ours.channels, at::kLong).remainder(3);
    const at::Tensor spread = ours.channels == 1
                                  ? columns.sum(1, /*keepdim=*/true)
                                  : columns.index_select(1, turns) * (3.0 / static_cast<double>(ours.channels));
    tensor = spread.flatten(1);
  }
}

Given read_state(const fs::path& folder) {
  const TensorFile file(folder / "state.safetensors");
  Given out;
  for (const std::string& name : file.names()) {
    if (name.starts_with("model.")) out.model.emplace_back(name.substr(6), to_tensor(file, name));
    if (name.starts_with("extra.")) out.extra.emplace_back(name.substr(6), to_tensor(file, name));
  }
  return out;
}

// Word vectors belong to their words.
void check_words(const fs::path& path, const TrainedState& state, const Method& method) {
  const fs::path folder = tokenizer_of(state);
  const Tokenizer theirs = Tokenizer::load(folder, state.config.text.cleaning);
  const Tokenizer& ours = method.text()->tokenizer();
  bool same = theirs.vocab_size() == ours.vocab_size();
  for (int64_t id = 0; same && id < ours.vocab_size(); ++id) same = theirs.token(id) == ours.token(id);
  check(same, "init: the text tower of ", path.string(),
        " was trained with other words than this run's; set "
        "text.tokenizer=",
        folder.string());
}

Given read_any(const fs::path& path, Method& method) {
  const Vit& student = method.student()->vit;
  const fs::path state = checkpoint_folder(path);
  if (!state.empty()) {
    const VitConfig theirs = open_backbone(state).config.vit;
    check_network(path, theirs, student->config());
    const std::optional<TrainedState> run = find_state(state);
    if (method.text() && reads_captions(run->config.recipe.composition)) check_words(path, *run, method);
    Given out = read_state(state);
    spread_channels(out.model, theirs, student->config());
    return out;
  }
  PortableVit net = naming("init", [&] { return open_portable(path, /*with_head=*/false); });
  drop_head(net);
  check_network(path, net.vit, student->config());
  shape_like(net, student, path);
  Given out;
  for (const auto& [name, tensor] : net.tensors) out.model.emplace_back(kVit + name.substr(4), tensor);
  spread_channels(out.model, net.vit, student->config());
  return out;
}

// What of `given` has a place among `own`, and what becomes of the rest.
struct Match {
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;  // own, given
  std::map<std::string, int> used;                        // part -> tensors
  std::set<std::string> fresh, left_over;                 // parts of which nothing is given, or nothing is there
  std::vector<std::string> misfits;                       // in parts that both have

  Match(const NamedTensors& given, const NamedTensors& own) {
    std::map<std::string, at::Tensor> source(given.begin(), given.end());
    std::set<std::string> theirs, ours;
    for (const auto& [name, tensor] : given) theirs.insert(part_of(name));
    for (const auto& [name, tensor] : own) ours.insert(part_of(name));
    for (const auto& [name, tensor] : own) {
      const auto found = source.find(name);
      if (found != source.end() && found->second.sizes() == tensor.sizes()) {
        copies.emplace_back(tensor, found->second);
        ++used[part_of(name)];
      } else if (!theirs.contains(part_of(name))) {
        fresh.insert(part_of(name));
      } else {
        misfits.push_back(found == source.end() ? name + " (not in the file)"
                                                : text(name, " (", shape_text(tensor), " here, ",
                                                       shape_text(found->second), " in the file)"));
      }
      if (found != source.end()) source.erase(found);
    }
    for (const auto& [name, tensor] : source) {
      if (ours.contains(part_of(name))) {
        misfits.push_back(name + " (no place here)");
      } else {
        left_over.insert(part_of(name));
      }
    }
  }

  void copy() const {
    const at::NoGradGuard no_grad;
    for (const auto& [own, given] : copies) own.copy_(given);
  }
};

void check_fit(const Match& match, const fs::path& path, InitFit fit) {
  check(fit == InitFit::kPartial || match.misfits.empty(), "init: ", match.misfits.size(), " tensors of ",
        path.string(), " and of this run do not fit: ", some(match.misfits),
        "; set init_fit=partial to start these from fresh weights");
}

}  // namespace

fs::path init_tokenizer(const fs::path& init) {
  const std::optional<TrainedState> state = init.empty() ? std::nullopt : find_state(init);
  return state && reads_captions(state->config.recipe.composition) ? tokenizer_of(*state) : fs::path();
}

std::vector<std::string> start_from(Method& method, const fs::path& path, InitFit fit, uint64_t seed) {
  const Given given = read_any(path, method);
  const Match model(given.model, named_tensors(method.module()));
  check_fit(model, path, fit);
  check(model.used.contains("student.vit"), "init: ", path.string(), " gives this run no tensor of its encoder");
  model.copy();
  method.begin(seed);
  const Match extra(given.extra, method.extra_state());
  check_fit(extra, path, fit);
  extra.copy();

  std::vector<std::string> notes;
  std::string used;
  for (const auto& [part, count] : model.used)
    used += (used.empty() ? "" : ", ") + text(part, " (", count, " tensors)");
  notes.push_back(text("from ", path.string(), ": ", used));
  std::set<std::string> fresh = model.fresh;
  if (!fresh.empty()) notes.push_back("fresh, since it has no such part: " + joined(fresh));
  if (!extra.used.empty())
    notes.push_back(text("also the state of teachers and targets, ", extra.copies.size(), " tensors"));
  if (!model.left_over.empty()) notes.push_back("not used: " + joined(model.left_over));
  if (!model.misfits.empty()) notes.push_back("fresh, since it does not fit: " + some(model.misfits));
  return notes;
}

}  // namespace lacuna
