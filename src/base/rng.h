#pragma once
// Counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
//
// A stream is named by (seed, purpose, epoch, sample); its n-th number is a pure function of that name and n. No stream
// shares state with another, so results do not depend on threads, ranks or the order in which samples arrive, and a
// resumed run needs no saved generator. Non-goal: cryptographic strength.

#include <array>
#include <cstdint>
#include <string_view>

namespace lacuna {

// One entry per independent use. Values are part of the reproducibility contract: never renumber, only append.
enum class Purpose : std::uint32_t {
  kInit = 1,        // parameter initialisation
  kShuffle = 2,     // epoch order
  kCrop = 3,        // random resized crop
  kFlip = 4,        // horizontal flip
  kColor = 5,       // colour jitter
  kMask = 6,        // masking of patches
  kDropPath = 7,    // stochastic depth
  kSubstitute = 8,  // replacement for an undecodable sample
  kScene = 9,       // synthetic scenes
  kCaption = 10,    // choice and wording of captions
  kProbe = 11,      // evaluation heads and their batches
  kTest = 12,
  kTextMask = 13,  // masking of words
  kTone = 14,      // grayscale and solarize
  kBlur = 15,
  kRandAugment = 16,  // also 3-Augment
  kErase = 17,
  kMix = 18,  // mixup and cutmix
};

class Rng {
 public:
  Rng(std::uint64_t seed, Purpose purpose, std::uint64_t epoch = 0, std::uint64_t sample = 0);

  std::uint32_t bits();                                       // uniform over 32 bits
  std::uint64_t bits64();                                     // uniform over 64 bits
  double uniform();                                           // [0, 1), 53 bits
  double uniform(double low, double high);                    // [low, high)
  std::int64_t integer(std::int64_t low, std::int64_t high);  // [low, high], both ends included, unbiased
  double normal();                                            // standard normal (Box-Muller)
  bool chance(double probability);

 private:
  void refill();

  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
  double spare_normal_ = 0;
  bool has_spare_ = false;
};

// The name of an epoch's draws for one of several independent crops of a sample; crop 0 is the epoch itself, and epochs
// never reach the bits that number the others.
constexpr std::uint64_t crop_epoch(std::uint64_t epoch, int crop) {
  return epoch + (static_cast<std::uint64_t>(crop) << 32);
}

// The raw block function, exposed for its known-answer test.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// 64-bit FNV-1a with a final mix; stable over versions. For deriving seeds from names.
std::uint64_t hash_name(std::string_view name);

}  // namespace lacuna
