#include "data/loader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "base/error.h"
#include "data/source/open_source.h"
#include "io/image/png_writer.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// Small noisy images named by their index; some of them refuse to decode, some take long.
class FakeSource : public Source {
 public:
  explicit FakeSource(std::int64_t size, std::set<std::int64_t> bad = {}) : size_(size), bad_(std::move(bad)) {}

  std::int64_t size() const override { return size_; }
  std::string name(std::int64_t index) const override { return "fake:" + std::to_string(index); }
  Image image(std::int64_t index) const override {
    if (index == crash_) throw std::runtime_error("the disk is on fire");
    if (bad_.count(index)) throw Error(name(index) + ": is broken", ExitCode::kBadData);
    if (index % 5 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // upsets the order of arrival
    Image image(12, 9);
    Rng rng(static_cast<std::uint64_t>(index), Purpose::kTest);
    for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(rng.bits());
    return image;
  }
  std::int64_t label(std::int64_t index) const override { return index % 7; }
  std::string caption(std::int64_t index, Rng& rng) const override {
    return name(index) + "/" + std::to_string(rng.integer(0, 999));
  }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::uint64_t fingerprint() const override { return 1; }

  std::int64_t crash_ = -1;

 private:
  std::int64_t size_;
  std::set<std::int64_t> bad_;
  std::vector<std::string> classes_ = std::vector<std::string>(7, "c");
};

const std::vector<ViewSpec> kViews{{.side = 8}, {.side = 5, .kernel = Kernel::kLanczos}};

LoaderConfig config_of(std::int64_t batch, int threads) {
  LoaderConfig config;
  config.batch_size = batch;
  config.threads = threads;
  config.seed = 11;
  config.captions = true;
  return config;
}

std::vector<HostBatch> take(const Source& source, const LoaderConfig& config, std::int64_t start, int count,
                            const fs::path& list = {}) {
  Loader loader(source, kViews, {}, config, list);
  loader.start(start);
  std::vector<HostBatch> batches;
  for (int i = 0; i < count; ++i) batches.push_back(loader.next());
  return batches;
}

void expect_same(const HostBatch& a, const HostBatch& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.captions, b.captions);
  EXPECT_TRUE(a.views == b.views) << "step " << a.step;
}

class LoaderTest : public ::testing::Test {
 protected:
  std::vector<std::string> lines(const fs::path& path) const {
    std::ifstream file(path);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }

  testing::TemporaryFolder root_;
};

TEST_F(LoaderTest, BatchesHoldWhatTheyName) {
  const FakeSource source(23);
  const auto batches = take(source, config_of(4, 2), 0, 10);
  for (int step = 0; step < 10; ++step) {
    const HostBatch& batch = batches[static_cast<std::size_t>(step)];
    EXPECT_EQ(batch.step, step);
    EXPECT_EQ(batch.epoch, step / 5);
    EXPECT_EQ(batch.size, 4);
    ASSERT_EQ(batch.views.size(), 2u);
    EXPECT_EQ(batch.views[0].size(), 4u * 8 * 8 * 3);
    EXPECT_EQ(batch.views[1].size(), 4u * 5 * 5 * 3);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(batch.labels[i], batch.ids[i] % 7);
      EXPECT_EQ(batch.captions[i].find(source.name(batch.ids[i]) + "/"), 0u);
    }
  }
  std::set<std::int64_t> epoch;
  for (int step = 0; step < 5; ++step) {
    epoch.insert(batches[static_cast<std::size_t>(step)].ids.begin(),
                 batches[static_cast<std::size_t>(step)].ids.end());
  }
  EXPECT_EQ(epoch.size(), 20u);
  EXPECT_FALSE(batches[0].views[0] == batches[1].views[0]);
}

TEST_F(LoaderTest, StreamDependsOnNeitherThreadsNorStart) {
  const FakeSource source(61, {3, 17, 40});
  LoaderConfig config = config_of(6, 1);
  config.max_bad_share = 0.1;
  const auto whole = take(source, config, 0, 35);
  for (const int threads : {1, 2, 8}) {
    for (const int prefetch : {1, 3}) {
      config.threads = threads;
      config.prefetch = prefetch;
      for (const std::int64_t start : {0, 7, 19}) {
        const auto part = take(source, config, start, 16);
        for (std::size_t i = 0; i < part.size(); ++i) expect_same(part[i], whole[static_cast<std::size_t>(start) + i]);
      }
    }
  }
}

TEST_F(LoaderTest, EpochsAreAugmentedAnew) {
  const FakeSource source(4);
  const auto batches = take(source, config_of(4, 2), 0, 2);
  std::map<std::int64_t, std::vector<std::uint8_t>> first;
  const std::size_t bytes = 8 * 8 * 3;
  const auto pixels = [&](const HostBatch& batch, std::size_t i) {
    const auto begin = batch.views[0].begin() + static_cast<std::ptrdiff_t>(i * bytes);
    return std::vector<std::uint8_t>(begin, begin + static_cast<std::ptrdiff_t>(bytes));
  };
  for (std::size_t i = 0; i < 4; ++i) first[batches[0].ids[i]] = pixels(batches[0], i);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NE(first.at(batches[1].ids[i]), pixels(batches[1], i));
}

TEST_F(LoaderTest, RanksTogetherMakeTheGlobalBatch) {
  const FakeSource source(40);
  const auto whole = take(source, config_of(6, 2), 0, 8);
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    LoaderConfig config = config_of(6, 2);
    config.rank = rank;
    config.world = 3;
    const auto part = take(source, config, 0, 8);
    for (std::size_t step = 0; step < 8; ++step) {
      ASSERT_EQ(part[step].size, 2);
      for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(part[step].captions[i], whole[step].captions[i * 3 + static_cast<std::size_t>(rank)]);
      }
    }
  }
}

TEST_F(LoaderTest, MayBeStartedAnew) {
  const FakeSource source(30);
  const auto whole = take(source, config_of(4, 2), 0, 12);
  Loader loader(source, kViews, {}, config_of(4, 3), {});
  loader.start(0);
  loader.next();
  loader.start(9);
  expect_same(loader.next(), whole[9]);
  expect_same(loader.next(), whole[10]);
  loader.start(2);
  expect_same(loader.next(), whole[2]);
  EXPECT_GE(loader.waited_seconds(), 0);
}

TEST_F(LoaderTest, EndsFromAnyState) {
  const FakeSource source(64);
  { Loader never_started(source, kViews, {}, config_of(8, 2), {}); }
  for (int round = 0; round < 20; ++round) {
    Loader loader(source, kViews, {}, config_of(8, 4), {});
    loader.start(round);
    for (int i = 0; i < round % 4; ++i) loader.next();
    if (round % 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));  // now the ring is full
  }
}

TEST_F(LoaderTest, StaysWithinItsBound) {
  class Counting : public FakeSource {
   public:
    using FakeSource::FakeSource;
    Image image(std::int64_t index) const override {
      ++reads;
      return FakeSource::image(index);
    }
    mutable std::atomic<int> reads{0};
  };
  const Counting source(1000);
  LoaderConfig config = config_of(5, 4);
  config.prefetch = 2;
  Loader loader(source, kViews, {}, config, {});
  loader.start(0);
  loader.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(source.reads, 3 * 5);  // the batch in use and two ahead
}

TEST_F(LoaderTest, FaultsOfWorkersSurface) {
  FakeSource source(20);
  source.crash_ = 7;
  for (const int threads : {1, 4}) {
    Loader loader(source, kViews, {}, config_of(5, threads), {});
    loader.start(0);
    const auto drain = [&] {
      for (int i = 0; i < 10; ++i) loader.next();
    };
    EXPECT_THROW(drain(), std::runtime_error);
    EXPECT_THROW(loader.next(), std::runtime_error);
  }
}

TEST_F(LoaderTest, BadSamplesAreReplacedByTheSameOthers) {
  const std::set<std::int64_t> bad{2, 5, 9};
  const FakeSource source(40, bad);
  LoaderConfig config = config_of(8, 1);
  config.max_bad_share = 0.2;
  const auto once = take(source, config, 0, 25);
  config.threads = 8;
  const auto again = take(source, config, 0, 25);
  const auto clean = take(FakeSource(40), config, 0, 25);
  std::map<std::int64_t, std::set<std::int64_t>> substitutes;
  for (std::size_t step = 0; step < once.size(); ++step) {
    expect_same(once[step], again[step]);
    for (std::size_t i = 0; i < 8; ++i) {
      const std::int64_t original = clean[step].ids[i], used = once[step].ids[i];
      EXPECT_FALSE(bad.count(used));
      if (bad.count(original)) {
        substitutes[original].insert(used);
      } else {
        EXPECT_EQ(original, used);
      }
    }
  }
  EXPECT_EQ(substitutes.size(), 3u);
  for (const auto& [original, used] : substitutes) EXPECT_GT(used.size(), 1u) << original;  // another one each epoch
}

TEST_F(LoaderTest, ABrokenFileIsNamedOnceOverRuns) {
  fs::create_directories(root_ / "data");
  for (int i = 0; i < 24; ++i) {
    Image image(16, 16);
    std::fill(image.pixels.begin(), image.pixels.end(), static_cast<std::uint8_t>(i * 10));
    write_png(root_ / "data" / ("img" + std::to_string(100 + i) + ".png"), image);
  }
  std::ofstream(root_ / "data" / "img110_broken.jpg") << "this is no picture";
  SourceConfig where;
  where.path = (root_ / "data").string();
  const auto source = open_source(where, Split::kTrain);
  ASSERT_EQ(source->size(), 25);
  const fs::path list = root_ / "run" / "quarantine.jsonl";
  for (const int threads : {1, 4}) {
    Loader loader(*source, kViews, {}, config_of(5, threads), list);
    loader.start(0);
    for (int i = 0; i < 15; ++i) {
      const HostBatch& batch = loader.next();
      for (const std::int64_t id : batch.ids) EXPECT_NE(id, 11);
    }
    EXPECT_EQ(loader.bad().samples, 1);
    EXPECT_GE(loader.bad().substitutions, 3);
    EXPECT_EQ(loader.bad().list, list);
    ASSERT_EQ(lines(list).size(), 1u);
  }
  const std::string entry = lines(list)[0];
  EXPECT_EQ(entry.find("{\"id\":11,\"name\":\""), 0u) << entry;
  EXPECT_NE(entry.find("img110_broken.jpg\",\"reason\":\""), std::string::npos) << entry;
}

TEST_F(LoaderTest, ATornListIsContinuedOnALineOfItsOwn) {
  const fs::path list = root_ / "quarantine.jsonl";
  std::ofstream(list) << "{\"id\":4,\"name\":\"fake:4\",\"reason\":\"x\"}\n{\"id\":9,\"na";
  LoaderConfig config = config_of(5, 2);
  config.max_bad_share = 0.5;
  take(FakeSource(10, {4, 6}), config, 0, 2, list);
  const auto all = lines(list);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].find("{\"id\":6,"), 0u) << all[2];
}

TEST_F(LoaderTest, TooManyBadSamplesEndTheRun) {
  std::set<std::int64_t> bad;
  for (std::int64_t i = 0; i < 200; i += 20) bad.insert(i);  // 10 of 200, 2 allowed
  const FakeSource source(200, bad);
  for (const int threads : {1, 8}) {
    const fs::path list = root_ / ("quarantine" + std::to_string(threads) + ".jsonl");
    try {
      take(source, config_of(10, threads), 0, 20, list);
      FAIL() << "expected an Error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadData);
      const std::string text = error.what();
      for (const std::string& part :
           {std::string(" of 200 samples"), std::string("data.max_bad_share = 0.01"), list.string()}) {
        EXPECT_NE(text.find(part), std::string::npos) << text;
      }
    }
    EXPECT_GE(lines(list).size(), 3u);
  }
}

TEST_F(LoaderTest, OneBadSampleIsAlwaysAllowedAndNoGoodOneEndsTheRun) {
  LoaderConfig config = config_of(5, 2);
  config.max_bad_share = 0;
  EXPECT_EQ(take(FakeSource(10, {3}), config, 0, 6).size(), 6u);
  config.max_bad_share = 1;
  EXPECT_THROW(take(FakeSource(5, {0, 1, 2, 3, 4}), config, 0, 1), Error);
}

TEST_F(LoaderTest, AListThatCannotBeWrittenIsAFault) {
  std::ofstream(root_ / "file") << "x";
  EXPECT_THROW(take(FakeSource(10, {3}), config_of(5, 2), 0, 6, root_ / "file" / "quarantine.jsonl"), Error);
}

TEST_F(LoaderTest, SettingsOutOfRangeAreNamed) {
  const FakeSource source(10);
  const auto expect_named = [&](const LoaderConfig& config, const std::string& name) {
    try {
      Loader loader(source, kViews, {}, config, {});
      ADD_FAILURE() << "expected an Error about " << name;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  };
  LoaderConfig config = config_of(5, 0);
  expect_named(config, "data.threads");
  config = config_of(5, 1);
  config.prefetch = 0;
  expect_named(config, "data.prefetch");
  config = config_of(5, 1);
  config.max_bad_share = 1.5;
  expect_named(config, "data.max_bad_share");
  expect_named(config_of(11, 1), "batch size");
}

}  // namespace
}  // namespace lacuna
