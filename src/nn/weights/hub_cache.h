#pragma once
// Models by the names under which Hugging Face's tools store them: where their cache keeps what the user has fetched.
// Layout and variables: huggingface_hub's documentation, "Understand caching". Non-goal: fetching anything.

#include <filesystem>
#include <string>

namespace lacuna {

// `named` itself where it exists (a part behind '#' aside) or cannot be a model's name; else ORG/NAME[@REVISION], with
// or without "hf-hub:" in front, looked up in the cache: the folder of the snapshot. Throws Error that says where was
// looked and how to fetch it.
std::filesystem::path resolve_model(const std::filesystem::path& named);

// HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
std::filesystem::path hub_cache_folder();

}  // namespace lacuna
