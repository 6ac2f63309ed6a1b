#pragma once
// Which source coordinates make an output coordinate, and how much each counts. The rules are Pillow's.

#include <vector>

#include "io/image/resize.h"

namespace lacuna {

inline constexpr int kWeightBits = 22;

// One axis of a resize: source pixels low .. high of `in` become `out` pixels, of which first_out .. end_out are
// wanted. A mirrored axis is that of the mirrored source; its taps name the pixels of the source as it lies.
struct Axis {
  int in;
  float low, high;
  int out;
  int first_out, end_out;
  bool mirrored = false;

  static Axis whole(int in, int out) { return {in, 0, static_cast<float>(in), out, 0, out}; }
  bool keeps_size() const { return in == out && low == 0.0f && high == static_cast<float>(in); }
  int outputs() const { return end_out - first_out; }
};

struct Taps {
  int stride = 0;            // weights kept per output
  std::vector<int> first;    // [outputs] first source coordinate
  std::vector<int> count;    // [outputs] number of source coordinates, at least 1
  std::vector<int> weights;  // [outputs][stride], fixed point with kWeightBits fraction bits, sum of sizes below 2^23

  int outputs() const { return static_cast<int>(first.size()); }
  const int* of(int out) const { return weights.data() + static_cast<std::ptrdiff_t>(out) * stride; }
  int first_in() const;
  int end_in() const;

  // Replaces what was there; grows only.
  void make(const Axis& axis, Kernel kernel);

 private:
  template <class Weight>
  void fill(const Axis& axis, const Weight& weight);

  std::vector<double> exact_;
};

}  // namespace lacuna
