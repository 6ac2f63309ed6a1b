// embed, inspect and compare as a user runs them, on a finished tiny run and on files that mean no good.

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <thread>

#include "base/error.h"
#include "cli/commands.h"
#include "io/image/png_writer.h"
#include "io/tensor/tensor_file.h"
#include "support/answer.h"
#include "support/shared.h"
#include "support/tiny_run.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

// Made once per test program.
fs::path finished_run() {
  static const TemporaryFolder folder;
  static const bool made = lacuna_run(joined(tiny_cae(), {"out=" + (folder / "run").string()})).code == 0;
  if (!made) throw std::runtime_error("the run that the tests look at could not be made");
  return folder / "run";
}

Words embedding(const fs::path& model, const fs::path& out, const Words& more = {}) {
  return joined({"embed", model.string(), "shapes", "--shapes.size", "8", "--shapes.side=48", "--threads", "1", "--out",
                 out.string()},
                more);
}

std::string bytes_of(const fs::path& path, const std::string& tensor) {
  const TensorFile file(path);
  const auto bytes = file.at(tensor).data;
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// ---- embed ---------------------------------------------------------------------------------------------------------

TEST(EmbedCommand, RunExportAndCheckpointGiveTheSameFeatures) {
  const TemporaryFolder folder;
  std::vector<std::string> rows;
  for (const fs::path& model : {finished_run(), finished_run() / "export", finished_run() / "checkpoints/step-8"}) {
    const fs::path out = folder / (std::to_string(rows.size()) + ".safetensors");
    EXPECT_SAYS(answer(embedding(model, out, {"--features", "class,patches", "--layer", "last,-1"})), ": 8 rows in");
    rows.push_back(bytes_of(out, "class.last") + bytes_of(out, "patches.4"));
  }
  EXPECT_EQ(rows[0], rows[1]);
  EXPECT_EQ(rows[0], rows[2]);
  const TensorFile file(folder / "0.safetensors");
  EXPECT_EQ(file.at("patches.4").shape, (std::vector<std::int64_t>{8, 36, 96}));
  EXPECT_EQ(file.metadata().at("model_hash").size(), 32u);
  EXPECT_TRUE(nlohmann::json::parse(file.metadata().at("preprocessing")).contains("mean"));
  EXPECT_SAYS(bytes_of(folder / "0.safetensors", "names"), std::string("shapes:7\0", 9));
}

TEST(EmbedCommand, TeachersGiveTheirProjectedEmbedding) {
  const TemporaryFolder folder;
  answer(embedding(tiny_teacher(), folder / "x.jsonl", {"--features", "projected", "--normalize", "true"}));
  std::ifstream lines(folder / "x.jsonl");
  std::string line;
  std::getline(lines, line);
  const auto row = nlohmann::json::parse(line);
  double squares = 0;
  for (const double value : row["projected"]) squares += value * value;
  EXPECT_NEAR(squares, 1, 1e-5);
}

// Waits until `happened`, or until the process is gone.
bool wait_for(const Process& process, const std::function<bool()>& happened) {
  while (process.is_running()) {
    if (happened()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

TEST(EmbedCommand, AKilledOneGoesOnToTheSameBytes) {
  for (const char* name : {"x.npz", "x.csv"}) {
    const TemporaryFolder folder;
    const auto command = [&](const fs::path& out) {
      Words words = embedding(finished_run() / "export", out, {"--batch", "16", "--save_every", "0"});
      words[4] = "1500";
      return words;
    };
    answer(command(folder / (std::string("whole-") + name)));
    int kills = 0;
    for (const int signal : {SIGKILL, SIGTERM}) {
      Process process(command(folder / name));
      // A few batches further than the process before.
      const auto is_on_its_way = [&] {
        std::ifstream index(folder / (std::string(name) + ".partial.json"));
        const auto saved = nlohmann::json::parse(index, nullptr, /*allow_exceptions=*/false);
        return saved.is_object() && saved.value("done", 0) > 200 * (kills + 1);
      };
      if (!wait_for(process, is_on_its_way)) break;
      process.send(signal);
      const Ended ended = process.wait();
      EXPECT_TRUE(signal == SIGKILL ? ended.signal == SIGKILL : ended.code == 4) << ended.code << ended.err;
      if (signal == SIGTERM) {
        EXPECT_SAYS(ended.out, "the same command goes on from there");
      }
      ++kills;
    }
    EXPECT_EQ(kills, 2) << "the work was over before the signal came";
    EXPECT_FALSE(fs::exists(folder / name));
    EXPECT_SAYS(answer(command(folder / name)), "went on after ");
    EXPECT_EQ(content_of(folder / name), content_of(folder / (std::string("whole-") + name)));
    EXPECT_FALSE(fs::exists(folder / (std::string(name) + ".partial")));
  }
}

TEST(EmbedCommand, BrokenImagesEndInCode3AndAreNamed) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "images");
  for (int i = 0; i < 4; ++i) write_png(folder / ("images/" + std::to_string(i) + ".png"), Image(20, 20));
  std::ofstream(folder / "images/2.png") << "no image";
  std::ofstream(folder / "images/3.jpg") << "nor this";
  const Words words = {"embed", (finished_run() / "export").string(), (folder / "images").string(), "--out",
                       (folder / "x.csv").string()};
  EXPECT_SAYS(answer(words, 3), "2 of 5 samples could not be decoded; max_bad_share allows");
  EXPECT_SAYS(content_of(folder / "x.csv.skipped.jsonl"), "3.jpg");
  EXPECT_SAYS(answer(joined(words, {"--max-bad-share", "0.5", "--bad", "nan"}), 2), "was begun with another bad");
  fs::remove(folder / "x.csv.partial.json");
  EXPECT_SAYS(answer(joined(words, {"--max-bad-share", "0.5", "--bad", "nan"})), "2 images could not be read");
  EXPECT_SAYS(content_of(folder / "x.csv"), "2.png,nan,nan,");
}

TEST(EmbedCommand, SaysWhatIsMissing) {
  const std::string model = (finished_run() / "export").string();
  EXPECT_SAYS(answer({"embed", model, "shapes"}, 2), "--out FILE.npz");
  EXPECT_SAYS(answer({"embed", model, "--out", "x.npz"}, 2), "expected a model and images");
  EXPECT_SAYS(answer({"embed", model, "/no/such/folder", "--out", "x.npz"}, 2), "/no/such");
  EXPECT_SAYS(answer({"embed", model, "shapes", "--out", "x.npz", "--feature", "class"}, 2), "did you mean features?");
  EXPECT_SAYS(answer({"embed", model, "shapes", "--out", "/no/such/x.npz"}, 2), "the folder /no/such does not exist");
  EXPECT_SAYS(answer({"embed", "--help"}), "max_bad_share");
}

// ---- inspect -------------------------------------------------------------------------------------------------------

TEST(InspectCommand, TellsRunCheckpointExportAndTeacher) {
  const std::string of_run = answer({"inspect", finished_run().string()});
  EXPECT_SAYS(of_run, "newest checkpoint: step 8 of 8, weights " + hash_at(finished_run()));
  for (const fs::path& path :
       {finished_run(), finished_run() / "checkpoints/step-8", finished_run() / "export", tiny_teacher()}) {
    const std::string said = answer({"inspect", path.string()});
    EXPECT_SAYS(said, "ViT of width 96, 4 blocks, 3 heads");
    EXPECT_SAYS(said, "opens as   teacher (kind=");
    EXPECT_SAYS(said, " elements, ");
    EXPECT_SAYS(said, "\nname ");
  }
  EXPECT_SAYS(answer({"inspect", (finished_run() / "export/model.safetensors").string()}), "cls_token");
  EXPECT_SAYS(answer({"inspect", (finished_run() / "checkpoints/step-8").string()}),
              hash_at(finished_run()));  // of the file as of the state
}

TEST(InspectCommand, StatsAndJson) {
  const TemporaryFolder folder;
  const std::string model = (finished_run() / "export").string();
  const std::string said = answer({"inspect", model, "--stats", "--json", (folder / "x.json").string()});
  EXPECT_SAYS(said, "  zeros  nan  inf\n");
  EXPECT_FALSE(contains(answer({"inspect", model, "tensors=false"}), "\nname "));
  const auto json = nlohmann::json::parse(content_of(folder / "x.json"));
  EXPECT_EQ(json["network"]["width"], 96);
  const auto& tensors = json["file"]["tensors"];
  EXPECT_EQ(tensors.size(), json["tensors"]);
  const auto norm =
      std::find_if(tensors.begin(), tensors.end(), [](const auto& t) { return t["name"] == "norm.weight"; });
  ASSERT_NE(norm, tensors.end());
  EXPECT_NEAR((*norm)["stats"]["mean"].template get<double>(), 1, 0.1);
  EXPECT_EQ((*norm)["stats"]["count"], 96);
  for (const auto& use : json["uses"]) EXPECT_EQ(use["opens"].get<bool>(), use["why_not"].get<std::string>().empty());
}

// Ends with an answer or with one line for the user, and with nothing that a terminal would obey. In this process: a
// fixture each would cost the start of a program.
void expect_answer(const fs::path& path) {
  const Words words = {path.string(), "--stats"};
  std::string said, fault;
  ::testing::internal::CaptureStdout();
  try {
    EXPECT_EQ(inspect_command(words), 0);
  } catch (const Error& error) {
    fault = error.what();
  }
  said = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(fault.find('\n'), std::string::npos) << fault;
  EXPECT_FALSE(said.empty() && fault.empty()) << path;
  EXPECT_TRUE(fault.empty() || contains(fault, path.filename().string())) << fault;
  for (const std::string& text : {said, fault})
    EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || c < 0 || c >= ' '; })) << path;
}

TEST(InspectCommand, AnswersForEveryFixture) {
  LACUNA_NEEDS_SHARED("data/checkpoint_fixtures");
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(shared_folder() / "data/checkpoint_fixtures")) {
    if (entry.is_regular_file() && ++files) expect_answer(entry.path());
  }
  EXPECT_GT(files, 60);
}

std::string with_header(const std::string& header, const std::string& data = "") {
  const std::uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

TEST(InspectCommand, AnswersForHostileFiles) {
  const TemporaryFolder folder;
  const std::string good = content_of(finished_run() / "export/model.safetensors");
  const auto refused = [&](const std::string& bytes) {
    std::ofstream(folder / "hostile.safetensors", std::ios::binary) << bytes;
    return answer({"inspect", (folder / "hostile.safetensors").string()}, 3);
  };
  EXPECT_SAYS(refused(""), "hostile.safetensors");
  EXPECT_SAYS(refused("GIF89a and more"), "hostile.safetensors");
  EXPECT_SAYS(refused(good.substr(0, good.size() / 2)), "hostile.safetensors");
  EXPECT_SAYS(refused(std::string(8, '\xff') + good), "hostile.safetensors");
  EXPECT_SAYS(refused(with_header(R"({"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})")),
              "hostile.safetensors");
  EXPECT_SAYS(answer({"inspect", "/no/such/thing"}, 2), "does not exist");
  EXPECT_SAYS(answer({"inspect", "/dev/null"}, 2), "/dev/null");
  EXPECT_SAYS(answer({"inspect", "a", "b"}, 2), "name one file or folder");
  fs::create_directory(folder / "empty");
  EXPECT_SAYS(answer({"inspect", (folder / "empty").string()}, 2), "empty");
}

TEST(InspectCommand, PrintsNothingThatATerminalWouldObey) {
  const TemporaryFolder folder;
  std::ofstream(folder / "x.safetensors", std::ios::binary)
      << with_header(R"({"__metadata__":{"a\u001b[31m":"b\u0007\nc"},"evil\u001b]0;x":{"dtype":"F32","shape":[1],)"
                     R"("data_offsets":[0,4]}})",
                     std::string("\0\0\xc0\x7f", 4));
  const std::string said = answer({"inspect", (folder / "x.safetensors").string(), "--stats"});
  EXPECT_SAYS(said, "evil\\x1b]0;x");
  EXPECT_SAYS(said, "a\\x1b[31m = b\\x07\\x0ac");
  EXPECT_SAYS(said, "opens as   nothing that Lacuna knows");
  expect_answer(folder / "x.safetensors");
}

TEST(InspectCommand, SaysWhyAContradictingFolderDoesNotOpen) {
  const TemporaryFolder folder;
  for (const char* config : {"{", "[]", R"({"architecture":"vit_base_patch16_224","model_args":{"depth":1e300}})",
                             R"({"architecture":"vit_base_patch16_224","model_args":{"num_heads":-3}})"}) {
    fs::remove_all(folder / "x");
    fs::create_directory(folder / "x");
    fs::copy(finished_run() / "export/model.safetensors", folder / "x/model.safetensors");
    std::ofstream(folder / "x/config.json") << config;
    const std::string said = answer({"inspect", (folder / "x").string()});
    EXPECT_SAYS(said, "opens as   nothing that Lacuna knows");
    EXPECT_SAYS(said, "not as     teacher (kind=vit): ");
  }
}

TEST(CacheNames, OpenInEveryCommand) {
  const TemporaryFolder folder;
  const fs::path model = folder / "models--org--tiny";
  fs::create_directories(model / "refs");
  fs::create_directories(model / "snapshots");
  std::ofstream(model / "refs/main") << "0123abcd";
  fs::copy(tiny_teacher(), model / "snapshots/0123abcd", fs::copy_options::recursive);
  setenv("HF_HUB_CACHE", folder.path().c_str(), 1);
  EXPECT_SAYS(answer({"inspect", "org/tiny"}), "CLIP");
  EXPECT_SAYS(answer({"export", "org/tiny", (folder / "out").string(), "--to", "hf"}), "written to");
  EXPECT_SAYS(answer({"compare", "org/tiny", (folder / "out").string()}), "equal (tolerance 0)");
  EXPECT_SAYS(answer(embedding("org/tiny", folder / "x.npz")), "8 rows");
  for (const Words& words : {Words{"inspect", "org/other"}, Words{"compare", "org/tiny", "org/other"},
                             Words{"export", "org/other", (folder / "no").string(), "--to", "timm"}})
    EXPECT_SAYS(answer(words, 2), "fetch it with: hf download org/other");
  unsetenv("HF_HUB_CACHE");
  std::ifstream card(folder / "out/README.md");
  EXPECT_SAYS(std::string(std::istreambuf_iterator<char>(card), {}), "from org/tiny\n");
}

// ---- compare -------------------------------------------------------------------------------------------------------

TEST(CompareCommand, SaysIdenticalEqualAndDifferent) {
  const TemporaryFolder folder;
  const fs::path run = finished_run();
  const std::string same = answer({"compare", run.string(), (run / "export").string()});
  EXPECT_SAYS(same, "identical: ");
  EXPECT_SAYS(same, "tensors, bit for bit");
  EXPECT_SAYS(same, "\nequal (tolerance 0)\n");
  const std::string networks = answer({"compare", (run / "export").string(), (run / "checkpoints/step-8").string()});
  EXPECT_SAYS(networks, "compared as networks");
  EXPECT_SAYS(networks, "identical: ");

  const fs::path json = folder / "x.json";
  const Ended ended = lacuna_run({"compare", (run / "checkpoints/step-8").string(),
                                  (run / "checkpoints/step-6").string(), "--json", json.string()});
  EXPECT_EQ(ended.code, 5) << ended.err;
  EXPECT_SAYS(ended.out, "tensor ");
  EXPECT_SAYS(ended.out, "\ndifferent (tolerance 0)\n");
  const auto found = nlohmann::json::parse(content_of(json));
  EXPECT_FALSE(found["equal"].get<bool>());
  EXPECT_GT(found["weights"]["different"].size(), 10u);
  EXPECT_LT(found["features"]["layers"].back()["mean_cosine"].get<double>(), 1);
  double largest = 0;
  for (const auto& pair : found["weights"]["different"]) largest = std::max(largest, pair["relative"].get<double>());
  EXPECT_EQ(found["weights"]["different"][0]["relative"], largest);
  for (const auto& layer : found["features"]["layers"]) largest = std::max(largest, layer["relative"].get<double>());
  const std::string enough = std::to_string(largest * 1.01 + 1e-5);
  EXPECT_SAYS(answer({"compare", (run / "checkpoints/step-8").string(), (run / "checkpoints/step-6").string(),
                      "--tolerance", enough}),
              "\nequal (tolerance ");
}

TEST(CompareCommand, TakesImagesAndPlainFiles) {
  const TemporaryFolder folder;
  write_png(folder / "x.png", Image(60, 50));
  const std::string model = (finished_run() / "export").string();
  EXPECT_SAYS(answer({"compare", model, model, (folder / "x.png").string()}), "features of 1 images");
  const std::string state = (finished_run() / "checkpoints/step-8/state.safetensors").string();
  const std::string plain = answer({"compare", state, state});
  EXPECT_SAYS(plain, "bit for bit");
  EXPECT_SAYS(plain, "features are not compared");
  EXPECT_SAYS(answer({"compare", state, model, (folder / "x.png").string()}, 2), "features cannot be compared");
  EXPECT_SAYS(answer({"compare", model}, 2), "expected two files");
  EXPECT_SAYS(answer({"compare", model, "/no/such"}, 2), "/no/such");
}

}  // namespace
}  // namespace lacuna
