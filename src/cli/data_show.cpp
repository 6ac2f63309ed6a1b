#include "cli/data_show.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>

#include "base/error.h"
#include "cli/command_line.h"
#include "cli/run.h"
#include "data/augment.h"
#include "io/png_writer.h"
#include "mim/pictures.h"
#include "train/batch.h"

namespace lacuna {
namespace {

constexpr int64_t kSamples = 12;
constexpr int kMargin = 4;

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
  check(command.out.ends_with(".png"), "data show: expected the picture to write, --out FILE.png, found '", command.out,
        "'");
  return command;
}

Image image_of(const HostBatch& batch, size_t view, int64_t sample, int side) {
  Image image(side, side);
  const auto bytes = static_cast<std::ptrdiff_t>(image.pixels.size());
  std::copy_n(batch.views[view].begin() + sample * bytes, bytes, image.pixels.begin());
  return image;
}

// One row: the sample as it is, every view that the method asks for, and the student's with the hidden patches gray.
Image row_of(const Run& run, const HostBatch& batch, const std::vector<MaskPlan>& plans, int64_t sample) {
  const std::vector<ViewSpec> views = run.method->views();
  const int side = views[0].side;
  const int64_t id = batch.ids[static_cast<size_t>(sample)] % run.source->size();
  std::vector<Image> panels{center_view(run.source->image(id), side, views[0].kernel, 1.0)};
  for (size_t view = 0; view < views.size(); ++view) {
    const Image image = image_of(batch, view, sample, views[view].side);
    panels.push_back(views[view].side == side ? image : resize(image, side, side, Kernel::kBox));
  }
  for (size_t crop = 0; crop < plans.size(); ++crop) {
    const auto seen_by_student = std::find_if(
        views.begin(), views.end(), [&](const ViewSpec& view) { return view.crop == static_cast<int>(crop); });
    const auto view = static_cast<size_t>(seen_by_student - views.begin());
    panels.push_back(hidden_patches(image_of(batch, view, sample, side), plans[crop], sample));
  }
  return panel_row(panels, kMargin);
}

}  // namespace

int data_show(Arguments arguments) {
  const ShowCommand command = parse(arguments);
  RunConfig config = parse_run(command.run);
  make_paths_absolute(config);
  // Order, views and masks of a sample do not depend on the batch it is in.
  config.recipe.train.batch_size = 1;
  config.recipe.train.accumulate = 1;
  Run run = assemble(config, {});
  run.loader->start(0);
  Image sheet;
  int64_t shown = 0;
  while (shown < command.samples) {
    const HostBatch& batch = run.loader->next();
    const Batch on_device = to_device(batch, run.method->views(), run.device);
    std::vector<MaskPlan> plans;
    for (int64_t crop = 0; crop < run.method->crops(); ++crop)
      plans.push_back(
          run.method->plan(on_device, {.seed = run.config.seed, .step = batch.step}, static_cast<int>(crop)));
    for (int64_t i = 0; i < batch.size && shown < command.samples; ++i, ++shown) {
      const Image row = row_of(run, batch, plans, i);
      sheet.width = row.width;
      sheet.height += row.height;
      sheet.pixels.insert(sheet.pixels.end(), row.pixels.begin(), row.pixels.end());
    }
  }
  write_png(command.out, sheet);
  std::cout << command.out << ": " << shown << " samples of " << config.data.path << " as " << config.method
            << " sees them in its first steps. Columns: the image's centre, " << run.method->views().size()
            << (run.method->views().size() == 1 ? " view" : " views")
            << " after augmentation, and the student's with the hidden patches gray\n";
  return 0;
}

}  // namespace lacuna
