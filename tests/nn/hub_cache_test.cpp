// Names of models looked up in a Hugging Face cache made here.

#include "nn/weights/hub_cache.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "io/files.h"
#include "nn/backbone.h"
#include "nn/frozen_vit.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";
constexpr const char* kVariables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};

class HubCache : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kVariables) {
      const char* value = std::getenv(name);
      before_.emplace_back(value == nullptr ? "" : value);
      unsetenv(name);
    }
    set("HF_HUB_CACHE", folder_.path());
  }
  void TearDown() override {
    for (size_t i = 0; i < before_.size(); ++i) {
      if (!before_[i].empty()) setenv(kVariables[i], before_[i].c_str(), 1);
    }
  }
  static void set(const char* name, const fs::path& value) { setenv(name, value.c_str(), 1); }

  fs::path model() const { return folder_ / "models--org--net"; }
  fs::path snapshot() const { return model() / "snapshots" / kCommit; }
  void add_ref(const std::string& name, const std::string& commit) {
    fs::create_directories((model() / "refs" / name).parent_path());
    write_file_atomic(model() / "refs" / name, commit);
  }
  // As hub tools write it: the snapshot's files are links to blobs.
  void add_weights() {
    fs::create_directories(model() / "blobs");
    fs::create_directories(snapshot());
    write_file_atomic(model() / "blobs" / "aa", "weights");
    fs::create_symlink("../../blobs/aa", snapshot() / "model.safetensors");
  }
  static std::string fault(const fs::path& name) {
    try {
      return "resolved to " + resolve_model(name).string();
    } catch (const Error& error) {
      return error.what();
    }
  }
  static void expect_in(const std::string& found, const std::string& part) {
    EXPECT_NE(found.find(part), std::string::npos) << "found: " << found << "\nexpected: " << part;
  }

  TemporaryFolder folder_;
  std::vector<std::string> before_;
};

TEST_F(HubCache, LeadsANameToItsSnapshot) {
  add_ref("main", std::string(kCommit) + "\n");
  add_ref("refs/pr/1", kCommit);
  add_weights();
  for (const char* name : {"org/net", "org/net@main", "hf-hub:org/net", "hf_hub:org/net@refs/pr/1"})
    EXPECT_EQ(resolve_model(name), snapshot()) << name;
  EXPECT_EQ(resolve_model(fs::path("org/net@") += kCommit), snapshot());
}

TEST_F(HubCache, LeavesPathsAlone) {
  const fs::path file = folder_ / "a.pt";
  write_file_atomic(file, "x");
  EXPECT_EQ(resolve_model(file), file);
  EXPECT_EQ(resolve_model(file.string() + "#model_ema"), file.string() + "#model_ema");
  for (const char* path : {"/no/such/place", "./no/such", "../x/y", "word", "a/b/c", "org/..", "org/net@../x"})
    EXPECT_EQ(resolve_model(path), path);
}

TEST_F(HubCache, SaysHowToFetchWhatIsNotThere) {
  expect_in(fault("org/net"), "fetch it with: hf download org/net (nothing is downloaded by this program)");
  expect_in(fault("org/net"), folder_.path().string());
  add_ref("main", kCommit);
  expect_in(fault("org/net"), "not its revision 'main'; fetch it with: hf download org/net");
  expect_in(fault("org/net@v2"), "not its revision 'v2'; fetch it with: hf download org/net --revision v2");
}

TEST_F(HubCache, TellsIncompleteSnapshotsApart) {
  add_ref("main", kCommit);
  fs::create_directories(snapshot());
  write_file_atomic(snapshot() / "config.json", "{}");
  expect_in(fault("org/net"), "holds no weights; fetch the rest with: hf download org/net");
  add_weights();
  fs::remove(model() / "blobs" / "aa");
  expect_in(fault("org/net"), "is incomplete: files of weights are links to nothing");
}

TEST_F(HubCache, RefusesARefThatLeadsElsewhere) {
  add_weights();
  for (const char* commit : {"../../..", "a/b", "", ".hidden"}) {
    add_ref("main", commit);
    expect_in(fault("org/net"), "expected the name of a commit");
  }
}

TEST_F(HubCache, FollowsTheVariablesInTheirOrder) {
  EXPECT_EQ(hub_cache_folder(), folder_.path());
  set("HUGGINGFACE_HUB_CACHE", "/old");
  set("HF_HOME", "/home/hf");
  set("XDG_CACHE_HOME", "/xdg");
  set("HOME", "/people/me");
  EXPECT_EQ(hub_cache_folder(), folder_.path());
  set("HF_HUB_CACHE", "~/models");
  EXPECT_EQ(hub_cache_folder(), "/people/me/models");
  unsetenv("HF_HUB_CACHE");
  EXPECT_EQ(hub_cache_folder(), "/old");
  unsetenv("HUGGINGFACE_HUB_CACHE");
  EXPECT_EQ(hub_cache_folder(), "/home/hf/hub");
  unsetenv("HF_HOME");
  EXPECT_EQ(hub_cache_folder(), "/xdg/huggingface/hub");
  unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(hub_cache_folder(), "/people/me/.cache/huggingface/hub");
}

TEST_F(HubCache, OpensATeacherByItsName) {
  add_ref("main", kCommit);
  const VitConfig config{.image_side = 32, .patch_side = 8, .width = 32, .depth = 1, .heads = 4, .hidden = 64};
  const Backbone net = random_like({.config = {.vit = config}, .vit = nullptr, .origin = ""}, 3);
  write_backbone(snapshot(), net.vit, net.config);
  fs::remove(snapshot() / "lacuna.json");
  EXPECT_EQ(open_frozen_vit("org/net").vit->config().heads, 4);
}

}  // namespace
}  // namespace lacuna
