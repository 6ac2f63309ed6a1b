#include "cli/data_show.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>

#include "base/error.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/run.h"
#include "data/view/augment.h"
#include "io/image/png_writer.h"
#include "mim/pictures.h"
#include "train/batch.h"

namespace lacuna {
namespace {

constexpr int64_t kSamples = 12;
constexpr int kMargin = 4;
constexpr int kPanelSide = 96;  // panels are drawn with at least half of this
constexpr std::uint8_t kPaper = 255;

struct ShowCommand {
  std::vector<std::string> run;  // settings of the run
  std::string out;
  int64_t samples = kSamples;
};

// samples= and out= are ours, everything else is the run's. Without a method, one that needs no teacher.
ShowCommand parse(Arguments arguments) {
  const CommandLine line = split(arguments);
  check(line.words.size() == 1, "data show: name one source: lacuna data show PATH --out FILE.png");
  ShowCommand command{.run = {"data.path=" + line.words[0]}};
  bool names_method = false;
  Settings own;
  for (const std::string& setting : line.settings) {
    names_method |= setting.starts_with("method=");
    if (setting.starts_with("out=")) {
      command.out = setting.substr(4);
    } else if (setting.starts_with("samples=")) {
      own.override_with(std::vector<std::string>{setting});
    } else {
      command.run.push_back(setting);
    }
  }
  struct Own {
    int64_t samples = kSamples;
    void fields(Fields& f) { f.add("samples", samples, {.help = "rows of the sheet", .min = 1, .max = 256}); }
  } chosen;
  apply(own, chosen);
  command.samples = chosen.samples;
  if (!names_method) command.run.push_back("method=mae");
  check(command.out.ends_with(".png"), "data show: expected the picture to write, --out FILE.png, found ",
        command.out.empty() ? "none" : command.out);
  return command;
}

// Of a spectrum the first three channels, as red, green and blue; of fewer, the last again.
Image image_of(const HostBatch& batch, size_t view, int64_t sample, const ViewSpec& spec) {
  Image image(spec.side, spec.side);
  const auto channels = static_cast<size_t>(spec.channels());
  const std::uint8_t* from = batch.views[view].data() + static_cast<size_t>(sample) * spec.bytes();
  for (size_t i = 0; i < image.pixels.size(); i += 3, from += channels) {
    for (size_t c = 0; c < 3; ++c) image.pixels[i + c] = from[std::min(c, channels - 1)];
  }
  return image;
}

// One row: the sample as it is, every view that the method asks for, and the student's with the hidden patches gray.
// Small views are drawn larger, pixel by pixel.
Image row_of(const Run& run, const HostBatch& batch, const std::vector<MaskPlan>& plans, int64_t sample) {
  const std::vector<ViewSpec> views = run.method->views();
  const int side = views[0].side;
  const int64_t id = batch.ids[static_cast<size_t>(sample)] % run.source->size();
  std::vector<Image> panels{center_view(run.source->image(id), side, views[0].kernel, 1.0)};
  for (size_t view = 0; view < views.size(); ++view) panels.push_back(image_of(batch, view, sample, views[view]));
  for (size_t crop = 0; crop < plans.size(); ++crop) {
    const auto seen_by_student = std::find_if(
        views.begin(), views.end(), [&](const ViewSpec& view) { return view.crop == static_cast<int>(crop); });
    const auto view = static_cast<size_t>(seen_by_student - views.begin());
    panels.push_back(hidden_patches(image_of(batch, view, sample, views[view]), plans[crop], sample));
  }
  const int drawn = side * std::max(1, kPanelSide / side);
  for (Image& panel : panels) panel = resize(panel, drawn, drawn, Kernel::kBox);
  return panel_row(panels, kMargin);
}

// Rows one below the other, in as many columns as make the sheet about square.
Image sheet_of(const std::vector<Image>& rows) {
  const int width = rows[0].width, height = rows[0].height, count = static_cast<int>(rows.size());
  const double square = std::sqrt(static_cast<double>(count) * height / width);
  const int columns = std::clamp(static_cast<int>(std::lround(square)), 1, count);
  const int lines = (count + columns - 1) / columns;
  Image sheet(columns * (width + kMargin) - kMargin, lines * height + kMargin);
  std::fill(sheet.pixels.begin(), sheet.pixels.end(), kPaper);
  for (int i = 0; i < count; ++i) {
    const std::ptrdiff_t left = std::ptrdiff_t{i / lines} * (width + kMargin);
    const int top = i % lines * height + kMargin;
    const Image& row = rows[static_cast<size_t>(i)];
    for (int y = 0; y < height; ++y)
      std::memcpy(sheet.row(top + y) + 3 * left, row.row(y), static_cast<size_t>(width) * 3);
  }
  return sheet;
}

}  // namespace

int data_show(Arguments arguments) {
  const ShowCommand command = parse(arguments);
  RunConfig config = parse_run(command.run);
  make_paths_absolute(config);
  // Order, views and masks of a sample do not depend on the batch it is in.
  config.recipe.train.batch_size = 1;
  config.recipe.train.accumulate = 1;
  config.data.max_bad_share = 1;
  Run run = assemble(config, {});
  run.loader->start(0);
  std::vector<Image> rows;
  while (std::ssize(rows) < command.samples) {
    const HostBatch& batch = run.loader->next();
    const Batch on_device = to_device(batch, run.method->views(), run.device);
    std::vector<MaskPlan> plans;
    for (int64_t crop = 0; crop < run.method->crops(); ++crop)
      plans.push_back(
          run.method->plan(on_device, {.seed = run.config.seed, .step = batch.step}, static_cast<int>(crop)));
    rows.push_back(row_of(run, batch, plans, 0));
  }
  write_png(command.out, sheet_of(rows));
  std::cout << command.out << ": " << counted(std::ssize(rows), "sample") << " of " << config.data.path << " as "
            << config.method << " sees them in its first steps. Each row: the image's centre, "
            << counted(std::ssize(run.method->views()), "view")
            << " after augmentation, and the student's with the hidden patches gray\n";
  if (const BadReport bad = run.loader->bad(); bad.samples > 0)
    std::cout << counted(bad.samples, "sample") << " could not be read, and others took their place; lacuna data check "
              << config.data.path << " names them\n";
  return 0;
}

}  // namespace lacuna
