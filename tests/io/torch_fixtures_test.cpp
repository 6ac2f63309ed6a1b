// Torch files of other programs: what torch reads in them, and what ten thousand mutations of each do.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "io/files.h"
#include "io/tensor/torch_file.h"
#include "io/tensor/zip.h"
#include "support/sha256.h"
#include "support/shared.h"
#include "support/torch_bytes.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::zip_of;
using testing::ZipPart;

std::span<const std::byte> span_of(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

struct Fixture {
  const char* file;
  std::size_t tensors;
  const char* digest;  // of every name, type, shape and contiguous content, as torch.load of torch 2.13 gives them
};

constexpr Fixture kFixtures[] = {
    {"burn/mnist/mnist.pt", 20, "75ba68bcc7eddb4d6da984f5783d4949"},
    {"burn/pt/batch_norm/batch_norm2d.pt", 5, "229a50385369cb4a316c9bd55eadbe8c"},
    {"burn/pt/boolean/boolean.pt", 1, "2321d7aac616a6a4d65e954a4cd4a5ca"},
    {"burn/pt/buffer/buffer.pt", 1, "412d2bc350a21bc9fff5af93e38f37fb"},
    {"burn/pt/complex_nested/complex_nested.pt", 23, "48ecabcacc556523a092815024c11407"},
    {"burn/pt/config/weights_with_config.pt", 3, "72d85538a47f67ae9e6e1a4866ac7a76"},
    {"burn/pt/conv1d/conv1d.pt", 3, "c49a8a7e1b14b6fd74cc7af6e917cb3a"},
    {"burn/pt/conv2d/conv2d.pt", 3, "d82f94abf2d205ba357733157f975a01"},
    {"burn/pt/conv_transpose1d/conv_transpose1d.pt", 3, "c49a8a7e1b14b6fd74cc7af6e917cb3a"},
    {"burn/pt/conv_transpose2d/conv_transpose2d.pt", 3, "d82f94abf2d205ba357733157f975a01"},
    {"burn/pt/debug_test.pt", 1, "01f9bff8859e51a87ff02c0fd8f612ca"},
    {"burn/pt/embedding/embedding.pt", 1, "23a50619f7701d6684161eaa0eb8e8b8"},
    {"burn/pt/enum_module/enum_depthwise_false.pt", 2, "b913255b7a85a4ddfe769eeadcc9b6ea"},
    {"burn/pt/enum_module/enum_depthwise_true.pt", 4, "6d31371852544edd5f972d408a21394a"},
    {"burn/pt/group_norm/group_norm.pt", 2, "59449c0404326fd566fb792e351b9f73"},
    {"burn/pt/integer/integer.pt", 1, "8be38101b904886edd847977b83f8154"},
    {"burn/pt/key_remap/key_remap.pt", 3, "4e30d94adefb29847ba86195789075aa"},
    {"burn/pt/key_remap_chained/key_remap.pt", 18, "71f5e201cc456f1288ee13342c81c4d9"},
    {"burn/pt/layer_norm/layer_norm.pt", 2, "d8ae318a76d9066dff256f290c7bd387"},
    {"burn/pt/linear/linear.pt", 3, "affe8e2e3db9dca1f20e1be055790bed"},
    {"burn/pt/linear/linear_with_bias.pt", 2, "9f1ebe7416640e2a32e9b7eacd196c81"},
    {"burn/pt/missing_module_field/missing_module_field.pt", 2, "2df768ac976d1b9cb0943cf111ff7c36"},
    {"burn/pt/non_contiguous_indexes/non_contiguous_indexes.pt", 10, "6c70dd0e1fe7cc357cc1fa876682eaef"},
    {"burn/pt/test_int.pt", 1, "f571ea05fa97a4af56147c5e28a61989"},
    {"burn/pt/top_level_key/top_level_key.pt", 2, "8394915979be4198a3fa0f63d38ba4dc"},
    {"burn/pt_reader/bfloat16.pt", 1, "a3b2d199aca7996e9527649a9a26e39f"},
    {"burn/pt_reader/bool.pt", 1, "0a0098b048671bcfebe9040168b87b34"},
    {"burn/pt_reader/buffers.pt", 2, "d47bb7331e0f1e0d183830174d690af0"},
    {"burn/pt_reader/checkpoint.pt", 5, "678e1ec3c22f4b6438a7c300fe3ad680"},
    {"burn/pt_reader/complex_structure.pt", 6, "8fa3593cc581c8d340003712a44b258b"},
    {"burn/pt_reader/empty.pt", 1, "d072c258c096a6a648d69f33984b637b"},
    {"burn/pt_reader/extreme_values.pt", 1, "21f3aa6839895163524028d5e976ff40"},
    {"burn/pt_reader/float16.pt", 1, "89323090e931cfb778eded0ce03d6bd1"},
    {"burn/pt_reader/float32.pt", 1, "c96eb7dc7ed3a66b36f0feb68ec4d508"},
    {"burn/pt_reader/float64.pt", 1, "98c45d905c7c08a2703c6b5a5218c0f6"},
    {"burn/pt_reader/int16.pt", 1, "86afb72d96ddf494fd113abb7f16ba11"},
    {"burn/pt_reader/int32.pt", 1, "51ef776f9441a9f0e210ed22fb8bec36"},
    {"burn/pt_reader/int64.pt", 1, "60a676ba9d40c0b27aab3f5077a9e4f0"},
    {"burn/pt_reader/int8.pt", 1, "adc9ac9cdc2f9141f0ffe61584674789"},
    {"burn/pt_reader/large_shape.pt", 1, "0a0ca5761e0890461ded944f81aec1dd"},
    {"burn/pt_reader/mixed_types.pt", 4, "1f233c74122bd0adbf7b1b1744e58788"},
    {"burn/pt_reader/nested_dict.pt", 4, "206983466a906b5ed556ec6b8709d527"},
    {"burn/pt_reader/parameter.pt", 1, "0d54469056c6bbda0cfa06ec82b6b0d8"},
    {"burn/pt_reader/scalar.pt", 1, "98488a5f2f333d8a2b60a77052074005"},
    {"burn/pt_reader/special_values.pt", 1, "e50762cfde9022dfebdbefadb5a068e0"},
    {"burn/pt_reader/state_dict.pt", 4, "6a81c8273f7f759e41742602a61d323b"},
    {"burn/pt_reader/tensor_2d.pt", 1, "ce4ef5941c8b85a00abca9097f1f0d29"},
    {"burn/pt_reader/tensor_3d.pt", 1, "5690ef0ba52fc3d393d1666d1aba4889"},
    {"burn/pt_reader/tensor_4d.pt", 1, "cb962b0d2bca53de1e4e7cd272cbc064"},
    {"burn/pt_reader/uint8.pt", 1, "5b1e19f1007cf1648de576b9ab296dd6"},
    {"burn/pt_store/model_without_enum_variants.pt", 4, "be5e08bc835fd14b5669cf93a3215518"},
    {"candle/fortran_tensor_3d.pth", 1, "eeb85c14c9dad603235b681b978eaae9"},
    {"candle/test.pt", 1, "bb029ce46609d6a138887d8955b6f42a"},
    {"candle/test_with_key.pt", 1, "c21eae1053a1317847863268f2ea820b"},
};

std::string digest_of(const TensorFile& file) {
  std::vector<std::uint8_t> all;
  for (const std::string& name : file.names()) {
    const TensorInfo& tensor = file.at(name);
    std::string line = name + "|" + std::string(dtype_name(tensor.dtype)) + "|";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) line += (i == 0 ? "" : ",") + text(tensor.shape[i]);
    line += "|";
    all.insert(all.end(), line.begin(), line.end());
    for (const std::byte byte : tensor.data) all.push_back(static_cast<std::uint8_t>(byte));
  }
  return testing::sha256(all).substr(0, 32);
}

TEST(TorchFixtures, EveryForeignFixtureHoldsWhatTorchReadsInIt) {
  LACUNA_NEEDS_SHARED("data/checkpoint_fixtures");
  const fs::path root = testing::shared_folder() / "data/checkpoint_fixtures";
  for (const Fixture& each : kFixtures) {
    SCOPED_TRACE(each.file);
    const TensorFile file(root / each.file);
    EXPECT_EQ(file.format(), "torch zip");
    EXPECT_EQ(file.names().size(), each.tensors);
    EXPECT_EQ(digest_of(file), each.digest);
    EXPECT_TRUE(file.left_out().empty());
  }
}

TEST(TorchFixtures, TheOtherFixturesAreRefusedInTheirOwnWords) {
  LACUNA_NEEDS_SHARED("data/checkpoint_fixtures");
  const fs::path root = testing::shared_folder() / "data/checkpoint_fixtures";
  const char* legacy = "a torch file in the form that torch.save wrote before 1.6, which is not read; convert it once";
  const std::map<std::string, const char*> refused = {
      {"burn/pt_reader/broken.pt", "expected at least the 8 bytes of a safetensors length, found 3 bytes"},
      {"burn/pt_reader/simple_legacy.pt", legacy},
      {"burn/pt_reader/legacy_shared_storage.pt", legacy},
      {"burn/pt_reader/legacy_uncloned_views.pt", legacy},
      {"burn/pt_reader/legacy_with_offsets.pt", legacy},
      {"candle/test.npy", "an array of numpy"},
      {"candle/test.npz", "an archive of numpy arrays (.npz)"}};
  std::set<fs::path> known;
  for (const Fixture& each : kFixtures) known.insert(root / each.file);
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string extension = entry.path().extension().string();
    if (!entry.is_regular_file() || extension == ".txt" || extension == ".safetensors") continue;
    const auto found = refused.find(fs::relative(entry.path(), root).string());
    EXPECT_NE(known.contains(entry.path()), found != refused.end()) << entry.path() << " is in one of the two tables";
    ++files;
    if (found == refused.end()) continue;
    try {
      const TensorFile file(entry.path());
      ADD_FAILURE() << entry.path() << " was opened";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(found->second), std::string::npos) << error.what();
      EXPECT_EQ(error.code(), ExitCode::kBadData);
    }
  }
  EXPECT_EQ(files, std::size(kFixtures) + refused.size());
}

// ---- Mutations ------------------------------------------------------------------------------------------------------

// A file with its structure in front and without checksums, so that a changed pickle is still read.
struct Seed {
  std::string bytes;
  std::size_t structure;  // bytes before the storages

  explicit Seed(const fs::path& path) {
    const std::string original = read_file(path, 4 << 20);
    const ZipArchive archive(span_of(original), "FILE");
    std::vector<ZipPart> parts;
    for (const ZipEntry& entry : archive.entries()) {
      parts.push_back({.name = std::string(entry.name),
                       .data = std::string(reinterpret_cast<const char*>(entry.data.data()), entry.data.size()),
                       .crc = 0});
    }
    const auto storages = std::stable_partition(
        parts.begin(), parts.end(), [](const ZipPart& part) { return part.name.find("/data/") == std::string::npos; });
    structure = zip_of({parts.begin(), storages}).size();
    bytes = zip_of(parts);
  }
};

// Flips, cuts, numbers of 16 and 32 bits, and pieces of the file laid over other places of it; most of them where its
// structure is.
std::string mutated(const Seed& seed, Rng& rng) {
  std::string bytes = seed.bytes;
  const auto place = [&] {
    const std::size_t below = rng.chance(0.7) ? seed.structure : bytes.size();
    return static_cast<std::size_t>(rng.integer(0, static_cast<std::int64_t>(std::min(below, bytes.size())) - 1));
  };
  switch (rng.integer(0, 4)) {
    case 0:
      for (std::int64_t flips = rng.integer(1, 4); flips > 0; --flips)
        bytes[place()] ^= static_cast<char>(1 << rng.integer(0, 7));
      return bytes;
    case 1:
      return bytes.substr(0, place());
    case 2: {
      const auto value = rng.chance(0.5) ? rng.integer(0, 300) : rng.integer(INT64_MIN, INT64_MAX);
      const std::size_t at = place(), size = std::min<std::size_t>(bytes.size() - at, rng.chance(0.5) ? 2 : 4);
      std::memcpy(bytes.data() + at, &value, size);
      return bytes;
    }
    case 3: {
      const std::size_t from = place(), to = place();
      const std::size_t size =
          std::min({static_cast<std::size_t>(rng.integer(1, 64)), bytes.size() - from, bytes.size() - to});
      std::memmove(bytes.data() + to, bytes.data() + from, size);
      return bytes;
    }
    default:
      bytes.erase(place(), static_cast<std::size_t>(rng.integer(1, 8)));
      return bytes;
  }
}

// Opens or throws Error; all bytes that it hands out can be read. Returns true if it opened.
bool opens(const std::string& bytes) {
  try {
    const TensorTable table = read_torch_file(span_of(bytes), "FILE");
    std::size_t total = 0;
    unsigned sum = 0;
    for (const auto& [name, tensor] : table.tensors) {
      total += tensor.data.size();
      if (tensor.data.size() < (1u << 20)) {
        for (const std::byte b : tensor.data) sum += static_cast<unsigned>(b);
      }
    }
    EXPECT_LE(sum, 255 * total);
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData) << error.what();
    return false;
  }
}

TEST(TorchFixtures, TenThousandMutationsOfEveryFixtureOpenOrAreRefused) {
  LACUNA_NEEDS_SHARED("data/checkpoint_fixtures");
  const fs::path root = testing::shared_folder() / "data/checkpoint_fixtures";
  Rng rng(11, Purpose::kTest);
  int opened = 0, refused = 0;
  for (const Fixture& each : kFixtures) {
    const Seed seed(root / each.file);
    const int rounds = seed.bytes.size() < 20'000 ? 10'000 : 1'000;  // of the large ones, a sample
    for (int round = 0; round < rounds; ++round) (opens(mutated(seed, rng)) ? opened : refused) += 1;
  }
  EXPECT_GT(opened, 10'000);
  EXPECT_GT(refused, 10'000);
}

TEST(TorchFixtures, MutationsOfWholeNetworksOpenOrAreRefused) {
  LACUNA_NEEDS_SHARED("golden/models/clip_openai/quickgelu/torchscript.pt");
  Rng rng(12, Purpose::kTest);
  for (const char* name : {"cae/official_cae_checkpoint-1.pth", "models/clip_openai/quickgelu/state_dict.pt",
                           "models/clip_openai/quickgelu/torchscript.pt", "models/dvae/h16_v64/encoder.pkl"}) {
    const Seed seed(testing::shared_folder() / "golden" / name);
    int opened = 0, refused = 0;
    for (int round = 0; round < 1'000; ++round) (opens(mutated(seed, rng)) ? opened : refused) += 1;
    EXPECT_GT(opened, 50) << name;
    EXPECT_GT(refused, 50) << name;
  }
}

}  // namespace
}  // namespace lacuna
