// `lacuna export` and `init=` on runs of seconds: every form opens again, what is refused says why, the card states
// what is known, and a run goes on from what was exported.

#include <fstream>

#include "base/error.h"
#include "io/tensor/tensor_file.h"
#include "support/answer.h"
#include "support/tiny_run.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::answer;
using testing::content_of;
using testing::joined;
using testing::TemporaryFolder;
using testing::tiny_data;
using testing::Words;

// Runs of four steps, each made once per test program.
fs::path run_of(const std::string& name, const Words& more) {
  static const TemporaryFolder folder;
  const fs::path out = folder / name;
  if (fs::exists(out)) return out;
  Words arguments = joined(joined({"pretrain", "model=micro"}, tiny_data()), more);
  std::replace(arguments.begin(), arguments.end(), std::string("duration=8 steps"), std::string("duration=4 steps"));
  answer(joined(arguments, {"out=" + out.string()}));
  return out;
}

const Words kSides = {"image_size=48", "patch_size=8"};
fs::path clip_run() { return run_of("clip", joined({"method=clip"}, kSides)); }
fs::path data2vec_run() { return run_of("data2vec", joined({"method=data2vec"}, kSides)); }
fs::path maskdistill_run() {
  return run_of("maskdistill", {"method=maskdistill", "teacher=" + (clip_run() / "export").string()});
}
fs::path maskclip_run() {
  return run_of("maskclip", joined({"method=maskclip", "text_tower.activation=gelu"}, kSides));
}

std::string say(const std::string& model, const fs::path& out, const Words& more, int code = 0) {
  return answer(joined({"export", model, out.string()}, more), code);
}

// Names and bytes of all tensors.
std::map<std::string, std::string> tensors_of(const fs::path& file) {
  std::map<std::string, std::string> out;
  const TensorFile tensors(file);
  for (const std::string& name : tensors.names()) {
    const auto data = tensors.at(name).data;
    out[name] = std::string(reinterpret_cast<const char*>(data.data()), data.size());
  }
  return out;
}

std::map<std::string, std::string> starting_with(const std::string& prefix, const fs::path& file) {
  std::map<std::string, std::string> out;
  for (const auto& [name, bytes] : tensors_of(file)) {
    if (name.starts_with(prefix)) out[name] = bytes;
  }
  return out;
}

fs::path weights_of(const fs::path& folder) {
  const fs::path openclip = folder / "open_clip_model.safetensors";
  return fs::exists(openclip) ? openclip : folder / "model.safetensors";
}

TEST(ExportCommand, EveryFormOpensAgainToTheSameBytes) {
  const TemporaryFolder folder;
  const std::tuple<std::string, fs::path, std::string> forms[] = {{"timm", maskdistill_run(), "student"},
                                                                  {"hf", maskdistill_run(), "student"},
                                                                  {"safetensors", data2vec_run(), "student"},
                                                                  {"timm", data2vec_run(), "teacher"},
                                                                  {"hf", clip_run(), "student"},
                                                                  {"openclip", clip_run(), "student"},
                                                                  {"openclip", maskclip_run(), "student"},
                                                                  {"timm", clip_run() / "export", "student"}};
  int count = 0;
  for (const auto& [to, model, part] : forms) {
    const fs::path first = folder / text("first", count), second = folder / text("second", count);
    ++count;
    say(model.string(), first, {"--to", to, "--part", part});
    say(first.string(), second, {"--to", to});
    EXPECT_EQ(content_of(weights_of(first)), content_of(weights_of(second))) << to << " of " << model;
    EXPECT_SAYS(
        answer({"eval", "knn", first.string(), "data=shapes", "data.size=16", "data.side=48", "knn.k=3", "threads=1"}),
        "Acc@1");
  }
}

TEST(ExportCommand, ARunsOwnExportIsWhatTheCommandWrites) {
  const TemporaryFolder folder;
  say(maskdistill_run().string(), folder / "timm", {"--to=timm"});
  EXPECT_EQ(content_of(folder / "timm/model.safetensors"), content_of(maskdistill_run() / "export/model.safetensors"));
  say(clip_run().string(), folder / "hf", {"to=hf"});
  for (const char* name : {"model.safetensors", "config.json", "vocab.json", "merges.txt"})
    EXPECT_EQ(content_of(folder / "hf" / name), content_of(clip_run() / "export" / name)) << name;
}

TEST(ExportCommand, TheMomentumTeacherIsAnotherNetworkThanTheStudent) {
  const TemporaryFolder folder;
  say(data2vec_run().string(), folder / "student", {"--to", "safetensors"});
  say(data2vec_run().string(), folder / "teacher", {"--to", "safetensors", "--part", "teacher"});
  const auto state =
      starting_with("extra.target.teacher.vit.", data2vec_run() / "checkpoints/step-4/state.safetensors");
  const auto teacher = tensors_of(folder / "teacher/model.safetensors");
  EXPECT_NE(teacher, tensors_of(folder / "student/model.safetensors"));
  ASSERT_FALSE(state.empty());
  for (const auto& [name, bytes] : state)
    EXPECT_EQ(teacher.at(name.substr(std::string("extra.target.teacher.vit.").size())), bytes) << name;
}

TEST(ExportCommand, WhatCannotBeIsRefusedWithTheReasonAndNothingIsLeftBehind) {
  const TemporaryFolder folder;
  const fs::path out = folder / "out";
  const std::tuple<std::string, Words, std::string> cases[] = {
      {maskdistill_run().string(), {}, "name the target"},
      {maskdistill_run().string(), {"--to", "onnx"}, "one of"},
      {(folder / "none").string(), {"--to", "timm"}, "does not exist"},
      {maskdistill_run().string(), {"--to", "openclip"}, "no text tower"},
      {maskdistill_run().string(), {"--to", "timm", "--part", "all"}, "--to safetensors"},
      {maskdistill_run().string(), {"--to", "timm", "--part", "teacher"}, "which is frozen: export"},
      {(maskdistill_run() / "export").string(), {"--to", "safetensors", "--part", "all"}, "no run and no checkpoint"},
      {data2vec_run().string(),
       {"--to", "timm", "--part", "teacher", "objective=other"},
       "no momentum teacher of 'other'"},
      {maskclip_run().string(), {"--to", "hf"}, "use --to openclip"}};
  for (const auto& [model, more, words] : cases) EXPECT_SAYS(say(model, out, more, 2), words);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(ExportCommand, ReplacesItsOwnEarlierFolderAndNothingElse) {
  const TemporaryFolder folder;
  const fs::path out = folder / "out";
  say(maskdistill_run().string(), out, {"--to", "timm"});
  std::ofstream(out / "stale.txt") << "of an earlier export";
  say(maskdistill_run().string(), out, {"--to", "timm"});
  EXPECT_FALSE(fs::exists(out / "stale.txt"));
  EXPECT_SAYS(say(maskdistill_run().string(), out, {"--to", "hf"}, 2), "not made by the same export");
  EXPECT_TRUE(fs::exists(out / "lacuna.json"));

  const fs::path other = folder / "other";
  fs::create_directory(other);
  std::ofstream(other / "thesis.txt") << "precious";
  EXPECT_SAYS(say(maskdistill_run().string(), other, {"--to", "timm"}, 2), "not empty");
  EXPECT_EQ(content_of(other / "thesis.txt"), "precious");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 2);
}

TEST(ExportCommand, TheCardStatesWhatIsKnown) {
  const TemporaryFolder folder;
  const fs::path teacher = folder / "vit-b-16-of-somebody";
  fs::copy(clip_run() / "export", teacher);
  std::ofstream(teacher / "README.md") << "---\nlicense: apache-2.0\n---\n";
  const fs::path run = run_of("licensed", {"method=maskdistill", "teacher=" + teacher.string()});
  say(run.string(), folder / "out", {"--to", "timm"});
  for (const std::string& card : {content_of(folder / "out/README.md"), content_of(run / "export/README.md")}) {
    EXPECT_TRUE(card.starts_with("---\nlibrary_name: timm\n")) << card;
    for (const char* words :
         {"maskdistill", "vit-b-16-of-somebody; licence: apache-2.0", "shapes, 32 images", "Step 4 of 4", "knn_top1",
          "timm.create_model(\"local-dir:FOLDER\", pretrained=True)", "AutoModel.from_pretrained(\"FOLDER\")",
          "mean 0.485, 0.456, 0.406", "method = \"maskdistill\""})
      EXPECT_SAYS(card, words);
    EXPECT_FALSE(testing::contains(card, folder.path().string())) << "a path of this machine";
    EXPECT_FALSE(testing::contains(card, "open_clip.create"));
  }
  say(clip_run().string(), folder / "clip", {"--to", "openclip"});
  EXPECT_SAYS(content_of(folder / "clip/README.md"), "open_clip.create_model_and_transforms(\"local-dir:FOLDER\")");
  say((clip_run() / "export").string(), folder / "converted", {"--to", "timm"});
  EXPECT_SAYS(content_of(folder / "converted/README.md"), "Licence of the weights: not known");
}

// ---- Going on ----------------------------------------------------------------------------------------------------

// A step that moves nothing: the rate is far below what a weight can show.
const Words kStandStill = {"lr=1e-30", "weight_decay=0", "duration=1 steps", "warmup=0 steps"};

Words still(const Words& more) {
  Words arguments = joined({"pretrain", "model=micro"}, tiny_data());
  std::erase_if(arguments, [](const std::string& a) {
    return a.starts_with("lr=") || a.starts_with("duration=") || a.starts_with("warmup=");
  });
  return joined(joined(arguments, kStandStill), more);
}

TEST(Init, ARunFromAWholeStateHasItsWeights) {
  const TemporaryFolder folder;
  say(maskclip_run().string(), folder / "state", {"--to", "safetensors", "--part", "all"});
  EXPECT_TRUE(starting_with("optimizer.", folder / "state/state.safetensors").empty());
  const fs::path out = folder / "run";
  const std::string said = answer(still(joined({"method=maskclip", "text_tower.activation=gelu",
                                                "init=" + (folder / "state").string(), "out=" + out.string(), "seed=5"},
                                               kSides)));
  EXPECT_SAYS(said, "student.vit (54 tensors)");
  EXPECT_SAYS(said, "the state of teachers");
  const auto before = starting_with("model.", folder / "state/state.safetensors");
  EXPECT_GT(before.size(), 100u);
  EXPECT_EQ(starting_with("model.", out / "checkpoints/step-1/state.safetensors"), before);
}

TEST(Init, TheOptimizersMomentsGoAlongWhenAskedFor) {
  const TemporaryFolder folder;
  say(data2vec_run().string(), folder / "state", {"--to", "safetensors", "--part", "all", "--optimizer", "true"});
  const auto moments = starting_with("optimizer.", folder / "state/state.safetensors");
  EXPECT_FALSE(moments.empty());
  EXPECT_EQ(moments, starting_with("optimizer.", data2vec_run() / "checkpoints/step-4/state.safetensors"));
}

// The encoder alone, in any form: weights are the same, the twin of the student is a copy of them.
TEST(Init, ARunFromAnEncoderHasItAndStartsTheRestFresh) {
  const TemporaryFolder folder;
  const auto wanted = starting_with("model.student.vit.", data2vec_run() / "checkpoints/step-4/state.safetensors");
  for (const std::string to : {"timm", "hf", "safetensors"}) {
    say(data2vec_run().string(), folder / to, {"--to", to});
    const fs::path out = folder / ("run-" + to);
    const std::string said = answer(
        still(joined({"method=data2vec", "init=" + (folder / to).string(), "out=" + out.string(), "seed=5"}, kSides)));
    EXPECT_SAYS(said, "fresh, since it has no such part: objective.target, student.mask_token");
    const fs::path state = out / "checkpoints/step-1/state.safetensors";
    EXPECT_EQ(starting_with("model.student.vit.", state), wanted) << to;
  }
}

TEST(Init, WhatDoesNotFitIsRefusedUnlessItMayStartFresh) {
  const TemporaryFolder folder;
  const Words common =
      joined({"method=data2vec", "init=" + data2vec_run().string(), "out=" + (folder / "run").string()}, kSides);
  EXPECT_SAYS(answer(still(joined(common, {"student.heads=6"})), 2), "set student.heads = 3");
  EXPECT_SAYS(answer(still(joined(common, {"student.relative_bias=none"})), 2), "set student.relative_bias = shared");
  const Words other_head = joined(common, {"objective.0.head.norm=true"});
  EXPECT_SAYS(answer(still(other_head), 2), "init_fit=partial");
  EXPECT_SAYS(answer(still(joined(other_head, {"init_fit=partial"}))), "fresh, since it does not fit");
  EXPECT_SAYS(
      answer(still(joined({"method=data2vec", "init=" + (folder / "none").string(), "out=" + (folder / "b").string()},
                          kSides)),
             2),
      "does not exist");
}

TEST(Init, ATextTowerIsNotGivenOtherWords) {
  const TemporaryFolder folder;
  answer({"tokenizer", "train", "shapes", "out=" + (folder / "words").string(), "vocabulary=530"});
  EXPECT_SAYS(answer(still(joined({"method=maskclip", "text_tower.activation=gelu", "init=" + maskclip_run().string(),
                                   "out=" + (folder / "run").string(), "text.tokenizer=" + (folder / "words").string()},
                                  kSides)),
                     2),
              "other words");
}

}  // namespace
}  // namespace lacuna
