#pragma once
// Both towers of a CLIP on their way to other programs; see nn/weights/portable.h.

#include <filesystem>
#include <string>
#include <vector>

#include "nn/clip.h"
#include "nn/weights/portable.h"

namespace lacuna {

struct PortableClip {
  ClipConfig config;
  NamedTensors tensors;             // under clip_key_map's names, fixed positions among them
  std::filesystem::path tokenizer;  // folder whose tokenizer files go along; empty without
  std::vector<std::string> notes;
};

// Whether a file or folder holds the text tower and the vision tower of a CLIP.
bool holds_clip(const std::filesystem::path& path);
PortableClip open_portable_clip(const std::filesystem::path& path);

// The vision tower with its projection, and back.
PortableVit vision_of(const PortableClip& clip);
void set_vision(PortableClip& clip, const PortableVit& vision);

// vocab.json, merges.txt and what else a tokenizer consists of. Returns whether there were any.
bool copy_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to);

// ---- Folders ---------------------------------------------------------------------------------------------------

// transformers' CLIPModel.
std::string why_not_transformers(const PortableClip& clip);
void write_transformers_folder(const std::filesystem::path& folder, PortableClip clip,
                               at::ScalarType dtype = at::kFloat);

// open_clip.create_model_and_transforms("local-dir:FOLDER"): OpenCLIP's own vision tower, or timm's where that is what
// the student is. A bias on the patches of OpenCLIP's own is added to their positions: equal up to rounding.
std::string why_not_open_clip(const PortableClip& clip);
void write_open_clip_folder(const std::filesystem::path& folder, PortableClip clip, at::ScalarType dtype = at::kFloat);

}  // namespace lacuna
