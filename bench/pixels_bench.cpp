// The data path from JPEG files to batches, stage by stage, and as one of the programs that peers/compare.py runs side
// by side.
//
//   LACUNA_BENCH_IMAGES=DIR bench_pixels            a table of stages, CPU time of one thread; DIR may hold tar shards
//   LACUNA_BENCH_IMAGES=DIR bench_pixels --serve    one line "TASK THREADS IMAGES" in, seconds out, until the end;
//                                                   0 threads: one core, CPU time; 0 images: the first batch
//
// Stages are medians over rounds that take turns, so that a busy machine disturbs all of them alike.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/source/decoded_source.h"
#include "data/source/open_source.h"
#include "data/view/render.h"
#include "io/image/resize_passes.h"

// After <cstdio>, which it needs.
#include <jpeglib.h>

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr int kBatch = 32;

struct Task {
  AugmentConfig augment;
  std::vector<ViewSpec> views;
};

const std::map<std::string, Task>& tasks() {
  static const std::map<std::string, Task> all = {
      {"rrc", {{.crop_min = 0.08, .color_jitter = 0}, {{.side = 224}}}},
      {"cae", {{.crop_min = 0.08, .color_jitter = 0}, {{.side = 224}, {.side = 112, .kernel = Kernel::kLanczos}}}},
      {"cae_v2", {{}, {{.side = 224}, {.side = 224, .stats = kClipStats}}}},
  };
  return all;
}

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// ---- One thread, straight into a batch.

class OneThread {
 public:
  explicit OneThread(const Source& source) : source_(source) {}

  double run(const Task& task, std::int64_t images) {
    batch_.resize(task.views.size());
    for (std::size_t v = 0; v < task.views.size(); ++v) batch_[v].resize(bytes_of(task.views[v]) * kBatch);
    places_.resize(task.views.size());
    const double begin = cpu_seconds();
    for (std::int64_t i = 0; i < images; ++i, ++next_) {
      for (std::size_t v = 0; v < places_.size(); ++v) {
        places_[v] = batch_[v].data() + static_cast<std::size_t>(i % kBatch) * bytes_of(task.views[v]);
      }
      const std::int64_t id = next_ % source_.size(), epoch = next_ / source_.size();
      source_.open(id, image_);
      renderer_.render(image_, task.augment, task.views, 1, static_cast<std::uint64_t>(epoch),
                       static_cast<std::uint64_t>(id), places_);
    }
    return cpu_seconds() - begin;
  }

 private:
  static std::size_t bytes_of(const ViewSpec& view) { return static_cast<std::size_t>(view.side) * view.side * 3; }

  const Source& source_;
  ImageReader image_;
  ViewRenderer renderer_;
  std::vector<std::vector<std::uint8_t>> batch_;
  std::vector<std::uint8_t*> places_;
  std::int64_t next_ = 0;
};

// ---- The loader, which lives on between rounds; its full queue is emptied before the clock starts.

class ManyThreads {
 public:
  ManyThreads(const Source& source, const Task& task, int threads)
      : loader_(source, task.views, task.augment, {.batch_size = kBatch, .threads = threads, .prefetch = kPrefetch},
                "") {
    loader_.start(0);
  }

  // Of no images: the first batch, in a loader that has just started.
  double run(std::int64_t images) {
    if (images == 0) return first_batch();
    for (int i = 0; i <= kPrefetch; ++i) loader_.next();
    const double begin = wall_seconds();
    for (std::int64_t i = 0; i < images / kBatch; ++i) loader_.next();
    return wall_seconds() - begin;
  }

 private:
  static constexpr int kPrefetch = 3;

  double first_batch() {
    const double begin = wall_seconds();
    loader_.next();
    return wall_seconds() - begin;
  }

  Loader loader_;
};

void serve(const Source& source) {
  OneThread one(source);
  std::map<std::string, std::unique_ptr<ManyThreads>> loaders;
  std::string name;
  int threads = 0;
  std::int64_t images = 0;
  while (std::cin >> name >> threads >> images) {
    const Task& task = tasks().at(name);
    auto& loader = loaders[name + std::to_string(threads)];
    if (threads > 0 && !loader) loader = std::make_unique<ManyThreads>(source, task, threads);
    std::cout << (threads == 0 ? one.run(task, images) : loader->run(images)) << std::endl;
  }
}

// ---- Stages.

struct Stage {
  std::string name;
  std::function<double()> seconds;  // of one round
};

struct Sample {
  std::string name;
  std::vector<std::uint8_t> bytes;
  Image pixels;
  Box box;
};

std::vector<Sample> samples_of(const Source& source) {
  std::vector<Sample> samples;
  ImageReader reader;
  for (std::int64_t i = 0; i < source.size(); ++i) {
    source.open(i, reader);
    const CropDraw draw =
        draw_view_crop(reader.width(), reader.height(), tasks().at("rrc").augment, 1, 0, static_cast<std::uint64_t>(i));
    samples.push_back({reader.name, reader.bytes, source.image(i), draw.box});
  }
  return samples;
}

// What no decoder built on the same library can go below: every row is Huffman decoded, and nothing else is done.
void entropy_decode(const Sample& sample) {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, sample.bytes.data(), sample.bytes.size());
  jpeg_read_header(&info, TRUE);
  jpeg_start_decompress(&info);
  jpeg_skip_scanlines(&info, info.output_height - 1);
  std::vector<std::uint8_t> line(static_cast<std::size_t>(info.output_width) * 4);
  JSAMPROW row = line.data();
  jpeg_read_scanlines(&info, &row, 1);
  jpeg_destroy_decompress(&info);
}

template <class Each>
double over_all(const std::vector<Sample>& samples, const Each& each) {
  const double begin = cpu_seconds();
  for (const Sample& sample : samples) each(sample);
  return cpu_seconds() - begin;
}

// Views of images kept decoded at a short side of 256, against views of the images: the mean of their PSNR.
double psnr_of_kept(const Source& source, const Source& kept) {
  const Task& task = tasks().at("rrc");
  double sum = 0;
  for (std::int64_t i = 0; i < source.size(); ++i) {
    const auto id = static_cast<std::uint64_t>(i);
    const Image exact = render_views(source.image(i), task.augment, task.views, 1, 0, id)[0];
    const Image twice = render_views(kept.image(i), task.augment, task.views, 1, 0, id)[0];
    double squares = 0;
    for (std::size_t b = 0; b < exact.pixels.size(); ++b) squares += std::pow(exact.pixels[b] - twice.pixels[b], 2);
    sum += 10 * std::log10(255.0 * 255.0 * static_cast<double>(exact.pixels.size()) / std::max(squares, 1.0));
  }
  return sum / static_cast<double>(source.size());
}

std::vector<Stage> stages_of(const Source& source, const Source& kept, const std::vector<Sample>& samples) {
  auto reader = std::make_shared<JpegReader>();
  auto image = std::make_shared<Image>();
  auto out = std::make_shared<std::vector<std::uint8_t>>(std::size_t{224} * 224 * 3);
  auto one = std::make_shared<OneThread>(source), of_kept = std::make_shared<OneThread>(kept);
  std::vector<Stage> stages;
  const auto add = [&](const std::string& name, auto each) {
    stages.push_back({name, [&samples, each] { return over_all(samples, each); }});
  };
  add("header", [=](const Sample& s) { reader->open(s.bytes, s.name, {}); });
  add("entropy decode alone, all rows", entropy_decode);
  add("decode, whole image", [=](const Sample& s) {
    const ImageSize size = reader->open(s.bytes, s.name, {});
    reader->read({0, 0, size.width, size.height}, *image);
  });
  add("decode, the crop's part", [=](const Sample& s) {
    reader->open(s.bytes, s.name, {});
    reader->read(s.box, *image);
  });
  for (const ResizePasses& passes : resize_passes()) {
    auto resizer = std::make_shared<Resizer>(passes);
    add(std::string("resize the crop to 224, ") + passes.name, [=](const Sample& s) {
      resizer->resize(ImageView(s.pixels).part(s.box), {224, 224}, out->data());
    });
  }
  for (const auto& [name, task] : tasks()) {
    stages.push_back(
        {"file to batch, " + name, [one, &task = task, &source] { return one->run(task, source.size()); }});
  }
  stages.push_back({"kept decoded at 256 to batch, rrc",
                    [of_kept, &source] { return of_kept->run(tasks().at("rrc"), source.size()); }});
  return stages;
}

void print_stages(const SourceConfig& config, int rounds) {
  const auto source_of_files = open_source(config, Split::kTrain);
  const Source& source = *source_of_files;
  const fs::path file = fs::temp_directory_path() / ("bench_pixels." + std::to_string(::getpid()));
  const auto kept = keep_decoded(open_source(config, Split::kTrain), {.file = file, .side = 256, .options = ""});
  const std::vector<Sample> samples = samples_of(source);
  const std::vector<Stage> stages = stages_of(source, *kept, samples);
  std::vector<std::vector<double>> seconds(stages.size());
  for (int round = 0; round <= rounds; ++round) {
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const double taken = stages[i].seconds();
      if (round > 0) seconds[i].push_back(taken);  // the first one warms caches
    }
  }
  std::printf("| stage (%lld images, %d rounds) | ms an image | quartiles |\n|---|---|---|\n",
              static_cast<long long>(source.size()), rounds);
  for (std::size_t i = 0; i < stages.size(); ++i) {
    std::vector<double>& s = seconds[i];
    std::sort(s.begin(), s.end());
    const auto at = [&](double q) {
      return 1e3 * s[static_cast<std::size_t>(q * static_cast<double>(s.size() - 1))] /
             static_cast<double>(source.size());
    };
    std::printf("| %s | %.3f | %.3f to %.3f |\n", stages[i].name.c_str(), at(0.5), at(0.25), at(0.75));
  }
  std::printf("\nkept at 256: %.1f MB; views of 224 differ from those of the files by a PSNR of %.1f dB in the mean\n",
              1e-6 * static_cast<double>(fs::file_size(file)), psnr_of_kept(source, *kept));
  fs::remove(file);
}

}  // namespace
}  // namespace lacuna

int main(int argc, char** argv) {
  using namespace lacuna;
  const char* folder = std::getenv("LACUNA_BENCH_IMAGES");
  if (folder == nullptr) {
    std::puts("bench_pixels: skipped; LACUNA_BENCH_IMAGES names no folder of images");
    return 0;
  }
  const SourceConfig config{.path = folder};
  argc > 1 && std::string(argv[1]) == "--serve" ? serve(*open_source(config, Split::kTrain)) : print_stages(config, 15);
  return 0;
}
