#pragma once
// The text side of a student that reads captions: one tower, shared by every objective on captions.

#include "base/config.h"
#include "data/text/tokenizer.h"
#include "nn/text_tower.h"

namespace lacuna {

struct TextTowerConfig {
  TextConfig tower;  // vocabulary and end id are settled by the tokenizer
  TooLong too_long = TooLong::kCut;

  void fields(Fields& f);
};

class TextStudentImpl : public torch::nn::Module {
 public:
  TextStudentImpl(const TextTowerConfig& config, std::shared_ptr<const Tokenizer> tokenizer);

  at::Tensor ids(const std::vector<std::string>& captions, at::Device device) const;  // [B,C]
  const Tokenizer& tokenizer() const { return *tokenizer_; }

  TextTower tower;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  TooLong too_long_;
};
TORCH_MODULE(TextStudent);

}  // namespace lacuna
