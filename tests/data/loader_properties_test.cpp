// What holds for every stream of batches, tried on many settings; and faults of real files while a stream runs.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>

#include "base/error.h"
#include "data/loader.h"
#include "data/source/mixed_source.h"
#include "data/source/open_source.h"
#include "io/files.h"
#include "io/image/jpeg_writer.h"
#include "io/image/png_writer.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// Images of noise, some of which cannot be read.
class NoiseSource : public Source {
 public:
  NoiseSource(std::int64_t size, std::uint64_t seed, std::int64_t bad_every)
      : size_(size), seed_(seed), bad_every_(bad_every) {}

  std::int64_t size() const override { return size_; }
  std::string name(std::int64_t index) const override { return text("noise", seed_, ":", index); }
  Image image(std::int64_t index) const override {
    if (bad_every_ > 0 && index % bad_every_ == 1) fail_data(name(index), ": Input/output error");
    Image image(7, 6);
    Rng rng(seed_, Purpose::kTest, 0, static_cast<std::uint64_t>(index));
    for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(rng.bits());
    return image;
  }
  std::int64_t label(std::int64_t) const override { return kNoLabel; }
  std::string caption(std::int64_t index, Rng& rng) const override { return text(name(index), rng.bits()); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::uint64_t fingerprint() const override { return seed_; }

 private:
  std::int64_t size_;
  std::uint64_t seed_;
  std::int64_t bad_every_;
  std::vector<std::string> classes_;
};

std::unique_ptr<Source> any_source(Rng& rng) {
  const auto part = [&] {
    return std::make_unique<NoiseSource>(rng.integer(20, 90), rng.bits(), rng.chance(0.5) ? rng.integer(5, 9) : 0);
  };
  if (rng.chance(0.5)) return part();
  std::vector<std::unique_ptr<Source>> sources;
  std::vector<double> weights;
  const bool weighted = rng.chance(0.7);
  for (std::int64_t i = 0; i < rng.integer(2, 4); ++i) sources.push_back(part());
  for (std::size_t i = 0; weighted && i < sources.size(); ++i) weights.push_back(rng.uniform(0.3, 4));
  return std::make_unique<MixedSource>(std::move(sources), std::move(weights));
}

// A sample of a batch: draw, caption, pixels.
using Drawn = std::tuple<std::int64_t, std::string, std::vector<std::uint8_t>>;

std::vector<std::vector<Drawn>> stream(const Source& source, LoaderConfig config, std::int64_t start, int steps) {
  const std::vector<ViewSpec> views{{.side = 5}};
  constexpr std::ptrdiff_t kBytes = 5 * 5 * 3;
  config.captions = true;
  config.max_bad_share = 1;
  Loader loader(source, views, {}, config, {});
  loader.start(start);
  std::vector<std::vector<Drawn>> batches;
  for (int step = 0; step < steps; ++step) {
    const HostBatch& batch = loader.next();
    EXPECT_EQ(batch.step, start + step);
    batches.emplace_back();
    for (std::int64_t i = 0; i < batch.size; ++i) {
      const auto pixels = batch.views[0].begin() + i * kBytes;
      const auto slot = static_cast<std::size_t>(i);
      batches.back().emplace_back(batch.ids[slot], batch.captions[slot], std::vector(pixels, pixels + kBytes));
    }
  }
  return batches;
}

TEST(LoaderProperties, NoSettingButTheSeedChangesTheStream) {
  Rng rng(5, Purpose::kTest);
  for (int round = 0; round < 40; ++round) {
    const auto source = any_source(rng);
    const std::int64_t world = rng.integer(1, 4);
    LoaderConfig config{.batch_size = world * rng.integer(1, 4), .threads = 1, .seed = rng.bits()};
    const auto whole = stream(*source, config, 0, 60);
    const std::int64_t start = rng.integer(0, 59);
    config.threads = static_cast<int>(rng.integer(1, 8));
    config.prefetch = static_cast<int>(rng.integer(1, 4));
    const auto resumed = stream(*source, config, start, static_cast<int>(60 - start));
    for (std::size_t i = 0; i < resumed.size(); ++i)
      ASSERT_EQ(resumed[i], whole[static_cast<std::size_t>(start) + i])
          << "round " << round << ", step " << start << "+" << i;
    std::vector<std::vector<Drawn>> gathered(60);
    for (config.rank = 0, config.world = world; config.rank < world; ++config.rank) {
      const auto part = stream(*source, config, 0, 60);
      for (std::size_t i = 0; i < part.size(); ++i)
        gathered[i].insert(gathered[i].end(), part[i].begin(), part[i].end());
    }
    for (std::size_t i = 0; i < gathered.size(); ++i) {
      const std::multiset<Drawn> ranks(gathered[i].begin(), gathered[i].end()), one(whole[i].begin(), whole[i].end());
      ASSERT_EQ(ranks, one) << "round " << round << ", step " << i;
    }
    config = {.batch_size = config.batch_size, .seed = config.seed + 1};
    EXPECT_NE(stream(*source, config, 0, 10), std::vector(whole.begin(), whole.begin() + 10));
  }
}

// The order of an epoch is that of its samples: the size of the batches only cuts it.
TEST(LoaderProperties, BatchesOfAnySizeCutOneOrder) {
  const NoiseSource source(48, 3, 7);
  const auto flat = [&](std::int64_t batch) {
    std::vector<Drawn> all;
    for (const auto& drawn : stream(source, {.batch_size = batch, .seed = 8}, 0, static_cast<int>(96 / batch)))
      all.insert(all.end(), drawn.begin(), drawn.end());
    return all;
  };
  const auto one = flat(1);
  for (const std::int64_t batch : {2, 6, 16, 48}) EXPECT_EQ(flat(batch), one) << batch;
}

// Repeated samples of a heavy source are cropped anew: their draws differ.
TEST(LoaderProperties, ASampleThatComesTwiceInAnEpochIsAugmentedTwice) {
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<NoiseSource>(3, 1, 0));
  sources.push_back(std::make_unique<NoiseSource>(60, 2, 0));
  const MixedSource source(std::move(sources), {1, 1});
  std::map<std::int64_t, std::set<std::vector<std::uint8_t>>> seen;
  for (const auto& batch : stream(source, {.batch_size = 21, .seed = 4}, 0, 3)) {
    for (const auto& [draw, caption, pixels] : batch) seen[draw % 63].insert(pixels);
  }
  for (std::int64_t sample = 0; sample < 3; ++sample) EXPECT_GT(seen[sample].size(), 8u) << sample;
}

TEST(LoaderProperties, AStuckThreadIsNamed) {
  class Stuck : public NoiseSource {
   public:
    using NoiseSource::NoiseSource;
    Image image(std::int64_t index) const override {
      if (index == 5) {
        std::unique_lock lock(mutex);
        changed.wait_for(lock, std::chrono::seconds(20), [this] { return released; });
      }
      return NoiseSource::image(index);
    }
    mutable std::mutex mutex;
    mutable std::condition_variable changed;
    bool released = false;
  };
  Stuck source(12, 1, 0);
  std::string told;
  LoaderConfig config{.batch_size = 4, .threads = 2, .stall_seconds = 0.05};
  config.tell = [&](const std::string& line) {
    told = line;
    const std::lock_guard lock(source.mutex);
    source.released = true;
    source.changed.notify_all();
  };
  Loader loader(source, {{.side = 5}}, {}, config, {});
  loader.start(0);
  for (int i = 0; i < 3; ++i) loader.next();
  EXPECT_NE(told.find("noise1:5"), std::string::npos) << told;
}

// ---- Files

// Nothing is locked for root. While this lives, root is somebody without rights.
class WithoutRights {
 public:
  WithoutRights() : was_root_(::geteuid() == 0 && ::seteuid(kNobody) == 0) {}
  ~WithoutRights() {
    if (was_root_ && ::seteuid(0) != 0) std::abort();
  }
  WithoutRights(const WithoutRights&) = delete;
  WithoutRights& operator=(const WithoutRights&) = delete;

 private:
  static constexpr uid_t kNobody = 65534;
  bool was_root_;
};

class FaultyFilesTest : public ::testing::Test {
 protected:
  FaultyFilesTest() {
    fs::create_directories(root_ / "data");
    for (int i = 0; i < 60; ++i) put(text("good", 100 + i, ".jpg"), jpeg_);
  }

  fs::path path(const std::string& name) const { return root_ / "data" / name; }
  void put(const std::string& name, const std::string& content) const {
    fs::remove_all(path(name));
    std::ofstream(path(name), std::ios::binary) << content;
  }
  static std::string make_jpeg() {
    Image image(40, 30);
    Rng rng(1, Purpose::kTest);
    for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(rng.bits());
    const auto bytes = encode_jpeg(image, 90);
    return {bytes.begin(), bytes.end()};
  }
  // The names in the list, without their folder; each may be there once.
  std::set<std::string> quarantined(const fs::path& list) const {
    std::set<std::string> names;
    std::ifstream file(list);
    for (std::string line; std::getline(file, line);) {
      const auto entry = nlohmann::json::parse(line);
      const std::string name = fs::path(entry["name"].get<std::string>()).filename();
      EXPECT_TRUE(names.insert(name).second) << name << " is listed twice";
      EXPECT_NE(entry["reason"].get<std::string>().find(name), std::string::npos) << line;
      if (name == "locked.jpg") {
        EXPECT_NE(line.find("Permission denied"), std::string::npos) << line;
      }
    }
    return names;
  }

  testing::TemporaryFolder root_;
  const std::string jpeg_ = make_jpeg();
};

TEST_F(FaultyFilesTest, EveryKindOfBrokenFileIsReplacedAndNamedOnce) {
  std::set<std::string> broken;
  const auto bad = [&](const std::string& name, const std::string& content) {
    put(name, content);
    broken.insert(name);
  };
  bad("empty.jpg", "");
  bad("text.jpg", "this is no picture");
  bad("cut.jpg", jpeg_.substr(0, jpeg_.size() / 2));
  bad("archive.png", std::string("\x1F\x8B\x08", 3));
  bad("header.png", "\x89PNG\r\n\x1A\n");
  fs::create_symlink("/no/such/place.jpg", path("dangling.jpg"));
  fs::create_symlink("/proc/self/mem", path("device_like.jpg"));
  broken.insert({"dangling.jpg", "device_like.jpg"});
  for (const char* name :
       {"vanishes.jpg", "becomes_pipe.jpg", "becomes_folder.jpg", "becomes_text.jpg", "locked.jpg"}) {
    put(name, jpeg_);
    broken.insert(name);
  }
  const auto source = open_source({.path = (root_ / "data").string()}, Split::kTrain);
  // All of these happen after the listing, as they would during a run.
  fs::remove(path("vanishes.jpg"));
  fs::remove(path("becomes_pipe.jpg"));
  ASSERT_EQ(::mkfifo(path("becomes_pipe.jpg").c_str(), 0600), 0);
  fs::remove(path("becomes_folder.jpg"));
  fs::create_directory(path("becomes_folder.jpg"));
  put("becomes_text.jpg", "changed");
  fs::permissions(path("locked.jpg"), fs::perms::none);
  fs::permissions(root_.path(), fs::perms::all);  // the lists are written there
  const WithoutRights from_here;
  ASSERT_NE(::geteuid(), 0u);
  const LoaderConfig config{.batch_size = 12, .threads = 1, .max_bad_share = 0.5};
  std::vector<std::vector<std::int64_t>> ids[2];
  for (const int threads : {1, 8}) {
    LoaderConfig these = config;
    these.threads = threads;
    const fs::path list = root_ / text("list", threads, ".jsonl");
    Loader loader(*source, {{.side = 8}}, {}, these, list);
    loader.start(0);
    for (int step = 0; step < 18; ++step) {
      const HostBatch& batch = loader.next();
      ids[threads == 1 ? 0 : 1].push_back(batch.ids);
      for (const std::int64_t id : batch.ids)
        EXPECT_EQ(broken.count(fs::path(source->name(id)).filename().string()), 0u) << source->name(id);
    }
    EXPECT_EQ(quarantined(list), broken);
    EXPECT_EQ(loader.bad().samples, std::ssize(broken));
  }
  EXPECT_EQ(ids[0], ids[1]);
}

TEST_F(FaultyFilesTest, FilesThatAreRewrittenAllTheTimeStopNothing) {
  const auto source = open_source({.path = (root_ / "data").string()}, Split::kTrain);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (std::size_t i = 0; !stop; ++i)
      put(text("good", 100 + i % 60, ".jpg"), jpeg_.substr(0, jpeg_.size() * (i % 3) / 2));
  });
  Loader loader(*source, {{.side = 8}}, {}, {.batch_size = 6, .threads = 4, .max_bad_share = 1}, root_ / "list.jsonl");
  loader.start(0);
  int batches = 0;
  try {
    for (; batches < 100; ++batches) loader.next();
  } catch (const Error& error) {  // by chance none of 64 substitutes may be whole just then
    EXPECT_EQ(error.code(), ExitCode::kBadData) << error.what();
  }
  stop = true;
  writer.join();
  EXPECT_GT(batches, 0);
}

}  // namespace
}  // namespace lacuna
