// fuzz_seeds OUT: small valid inputs for every target, one folder each.

#include <fstream>
#include <iostream>

#include "base/error.h"
#include "data/source/sample_table.h"
#include "io/image/jpeg_writer.h"
#include "io/image/png_writer.h"
#include "io/tar.h"
#include "io/tensor/safetensors.h"
#include "support/small_tiff.h"
#include "support/torch_bytes.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::PickleMaker;
using testing::torch_of;
using testing::zip_of;
using testing::ZipPart;

void write(const fs::path& file, const std::string& content) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << content;
}

// Pickles with every operation and every class that has a meaning.
std::vector<std::string> pickles() {
  using namespace std::string_literals;
  std::vector<std::string> out;
  PickleMaker state;
  state.op("}q\0("s).text("w").tensor(16, 0, {4, 4}, {4, 1}).text("t").tensor(16, 0, {4, 4}, {1, 4});
  state.text("p").global("torch._utils", "_rebuild_parameter").op("(").tensor(16, 4, {2}, {2}).op("\x88)tR");
  state.text("lr").op("G\x3f\xb9\x99\x99\x99\x99\x99\x9a").text("again").op("h\0u"s);
  out.push_back(state.done());
  PickleMaker module;
  module.global("a.b", "Net").op(")\x81}(").text("_parameters").op("}").text("w").tensor(16, 0, {16}, {1}).op("s");
  module.text("_buffers").op("}").text("_non_persistent_buffers_set").global("builtins", "set").op("]\x85R");
  module.text("_modules").op("}ub");
  out.push_back(module.done());
  PickleMaker script;
  script.global("__torch__", "M").op(")\x81}").text("w").tensor(16, 0, {}, {}, "FloatStorage").op("sb");
  out.push_back(script.done());
  PickleMaker args;
  args.op("}(").text("args").global("argparse", "Namespace").op(")\x81}").text("n").op("K\1K\2\x86sb");
  args.text("np")
      .global("numpy._core.multiarray", "scalar")
      .global("numpy", "dtype")
      .text("f8")
      .op("\x89\x88\x87R(K\3");
  args.text("<").op("NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"s);
  args.global("_codecs", "encode").text("\0\0\0\0\0\0\xc3\x90?"s).text("latin1").op("\x86R\x86R");
  args.text("path").global("pathlib", "PosixPath").text("/").text("a").op("\x86R");
  args.text("device").global("torch", "device").text("cuda").op("K\1\x86R").text("size").global("torch", "Size");
  args.op("K\1\x85\x85R").text("d").global("collections", "OrderedDict").op(")R}b").text("l").op("](I01\nL5L\nF1.5\ne");
  out.push_back(args.op("u").done());
  out.push_back(
      "\x80\x04\x95\0\0\0\0\0\0\0\0}\x94(\x8c\1a\x94\x8c\5torch\x94\x8c\7float32\x94\x93\x94"
      "\x8c\1b]\x94(NK\1M\1\1J\1\1\1\1\x8a\1\1e\x8c\1c\x8f(K\1\x90(K\2\x91\x86\x8c\1d\x88u."s);
  PickleMaker v3;
  v3.global("torch._utils", "_rebuild_tensor_v3").op("(").storage("UntypedStorage", "0", 64).integer(0);
  v3.integers({8}).integers({1}).op("\x89}").global("torch", "uint16").op("}tR");
  out.push_back(v3.done());
  return out;
}

std::string script(const std::string& pickle) {
  const std::string constants = PickleMaker().op("(").tensor(1, 0, {}, {}, "DoubleStorage").op("t").done();
  return zip_of({{.name = "m/data.pkl", .data = pickle, .crc = 0},
                 {.name = "m/data/0", .data = std::string(64, '\0')},
                 {.name = "m/code/m.py", .data = "x * 1.5"},
                 {.name = "m/constants.pkl", .data = constants, .crc = 0},
                 {.name = "m/constants/0", .data = std::string(8, '\0')}});
}

void write_all(const fs::path& out) {
  int count = 0;
  for (const std::string& pickle : pickles()) {
    const std::string name = text("seed-", ++count);
    write(out / "pickle" / name, pickle);
    // No checksum, so that a changed pickle is still read.
    write(out / "torch" / name, zip_of({{.name = "a/data.pkl", .data = pickle, .crc = 0},
                                        {.name = "a/byteorder", .data = "little"},
                                        {.name = "a/data/0", .data = std::string(64, 'x')}}));
    write(out / "torch" / (name + "-script"), script(pickle));
  }
  for (const bool descriptor : {false, true}) {
    for (const bool wide : {false, true}) {
      const ZipPart part{.name = "a/b", .data = "data", .descriptor = descriptor, .wide = wide};
      write(out / "zip" / text("seed-", descriptor, wide), zip_of({part, {.name = "c", .data = ""}}, {.wide = wide}));
    }
  }
  const float values[6] = {};
  const TensorView views[] = {
      {"w", DType::kF32, {2, 3}, values}, {"b", DType::kBF16, {}, values}, {"e", DType::kI64, {0}, nullptr}};
  fs::create_directories(out / "safetensors");
  write_safetensors(out / "safetensors/seed-1", views, {{"key", "value"}});
  write(out / "shards/seed-1",
        R"({"metadata":{"total_size":24},"weight_map":{"a":"1.safetensors","b":"1.safetensors","c":"2.safetensors"}})");
}

void write_configs(const fs::path& folder) {
  // The first byte says which file it is (fuzz/config_fuzz.cpp).
  write(folder / "seed-timm",
        R"(0{"architecture":"vit_base_patch16_224","num_classes":0,"num_features":8,)"
        R"("model_args":{"img_size":16,"patch_size":8,"embed_dim":8,"depth":1,"num_heads":2,"mlp_ratio":2.0},)"
        R"("pretrained_cfg":{"input_size":[3,16,16],"interpolation":"bicubic","crop_pct":0.9,"mean":[0.5,0.5,0.5],)"
        R"("std":[0.5,0.5,0.5]}})");
  write(folder / "seed-vit",
        R"(1{"model_type":"vit","architectures":["ViTModel"],"hidden_size":8,"num_hidden_layers":1,)"
        R"("num_attention_heads":2,"intermediate_size":16,"hidden_act":"gelu","layer_norm_eps":1e-12,)"
        R"("image_size":16,"patch_size":8,"num_channels":3,"qkv_bias":true})");
  write(folder / "seed-processor",
        R"(2{"image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5],"resample":3,)"
        R"("size":{"height":16,"width":16},"do_resize":true,"crop_size":16,"do_center_crop":true})");
  write(folder / "seed-openclip",
        R"(3{"model_cfg":{"embed_dim":4,"quick_gelu":true,"vision_cfg":{"image_size":16,)"
        R"("layers":1,"width":8,"head_width":4,"patch_size":8},"text_cfg":{"context_length":8,"vocab_size":16,)"
        R"("width":8,"heads":2,"layers":1}},"preprocess_cfg":{"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5],)"
        R"("interpolation":"bicubic"}})");
  write(folder / "seed-clip",
        R"(4{"model_type":"clip","projection_dim":4,"vision_config":{"hidden_size":8,)"
        R"("intermediate_size":16,"num_attention_heads":2,"num_hidden_layers":1,"image_size":16,"patch_size":8,)"
        R"("hidden_act":"quick_gelu"},"text_config":{"hidden_size":8,"intermediate_size":16,"num_attention_heads":2,)"
        R"("num_hidden_layers":1,"vocab_size":16,"max_position_embeddings":8,"hidden_act":"quick_gelu"}})");
}

void write_archives(const fs::path& folder) {
  std::string archive;
  TarWriter tar([&archive](std::span<const std::byte> part) {
    archive.append(reinterpret_cast<const char*>(part.data()), part.size());
  });
  const std::string content = "content";
  const auto bytes = std::as_bytes(std::span(content.data(), content.size()));
  tar.add("a.jpg", bytes);
  tar.add(std::string(120, 'n') + ".jpg", bytes);
  tar.add("a.txt", bytes);
  tar.finish();
  write(folder / "tar" / "seed", archive);
  SampleTable table;
  table.archives = {"a.tar"};
  const std::vector<std::string> captions{"one", "two"};
  table.add("x/1.jpg", Extent{0, 512, 7}, captions);
  table.add_fault("y/2.jpg", Extent{0, 1024, 7}, "is a link");
  set_folder_labels(table);
  write(folder / "sample_table" / "seed", table.to_bytes());
}

// Pictures of a few pixels. WebP and GIF, which nothing here writes, begin with FUZZ_SEEDS.
void write_images(const fs::path& out) {
  const auto put = [&out](const std::string& target, const std::string& name, const std::vector<std::uint8_t>& bytes) {
    const std::string content(bytes.begin(), bytes.end());
    write(out / target / name, content);
    write(out / "decode_image" / name, content);
  };
  Image image(9, 7);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * i);
  put("decode_png", "seed-png", encode_png(image));
  put("decode_jpeg", "seed-jpeg", encode_jpeg(image, 80));
  int count = 0;
  for (const int channels : {1, 3, 4, 5}) {
    for (const int bits : {8, 16, 32}) {
      for (const bool separate : {false, true}) {
        testing::SmallTiff tiff{.width = 5, .height = 3, .channels = channels, .bits = bits, .separate = separate};
        tiff.photometric = channels < 3 ? 1 : 2;
        tiff.format = bits == 32 ? 3 : 1;
        tiff.orientation = 1 + count % 8;
        for (int i = 0; i < 15 * channels; ++i) tiff.samples.push_back(static_cast<std::uint32_t>(i * 3001 % 251));
        put("decode_tiff", text("seed-tiff-", ++count), testing::tiff_bytes(tiff));
      }
    }
  }
}

}  // namespace
}  // namespace lacuna

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "fuzz_seeds OUT\n";
    return 2;
  }
  lacuna::write_all(argv[1]);
  lacuna::write_archives(argv[1]);
  lacuna::write_images(argv[1]);
  lacuna::write_configs(std::filesystem::path(argv[1]) / "config");
}
