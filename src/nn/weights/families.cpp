#include "nn/weights/families.h"

namespace lacuna {
namespace {

using Rows = std::vector<NameRow>;

constexpr const char* kBlock = "vit.blocks.{i}.";
constexpr const char* kSharedTable = "vit.relative_biases.0.relative_position_bias_table";
constexpr const char* kBlockTable = "vit.relative_biases.{i}.relative_position_bias_table";

// The weight and the bias of a layer.
void add_layer(Rows& rows, const std::string& ours, const std::string& theirs) {
  for (const char* leaf : {".weight", ".bias"}) rows.push_back({{ours + leaf}, {theirs + leaf}});
}

Rows joined(const std::vector<Rows>& parts) {
  Rows out;
  for (const Rows& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

// Layers of a block: pairs of our name and the file's, both behind the block's.
Rows layers(const std::string& ours, const std::string& theirs,
            const std::vector<std::pair<const char*, const char*>>& names) {
  Rows rows;
  for (const auto& [mine, other] : names) add_layer(rows, ours + mine, theirs + other);
  return rows;
}

// Query, key and value apart.
Rows split_attention(const std::string& ours, const std::string& theirs, const char* q, const char* k, const char* v) {
  Rows rows;
  for (const std::string leaf : {".weight", ".bias"})
    rows.push_back({{ours + "attn.qkv" + leaf}, {theirs + q + leaf, theirs + k + leaf, theirs + v + leaf}});
  return rows;
}

// A block of transformers' CLIP and SigLIP, vision or text.
Rows clip_block(const std::string& ours, const std::string& theirs) {
  return joined({split_attention(ours, theirs + "self_attn.", "q_proj", "k_proj", "v_proj"),
                 layers(ours, theirs,
                        {{"attn.proj", "self_attn.out_proj"},
                         {"norm1", "layer_norm1"},
                         {"norm2", "layer_norm2"},
                         {"mlp.fc1", "mlp.fc1"},
                         {"mlp.fc2", "mlp.fc2"}})});
}

// A block of OpenAI's CLIP, vision or text.
Rows openai_block(const std::string& ours, const std::string& theirs) {
  return joined({{{{ours + "attn.qkv.weight"}, {theirs + "attn.in_proj_weight"}},
                  {{ours + "attn.qkv.bias"}, {theirs + "attn.in_proj_bias"}}},
                 layers(ours, theirs,
                        {{"attn.proj", "attn.out_proj"},
                         {"norm1", "ln_1"},
                         {"norm2", "ln_2"},
                         {"mlp.fc1", "mlp.c_fc"},
                         {"mlp.fc2", "mlp.c_proj"}})});
}

Rows clip_rows() {
  Rows rows = {{{"vit.cls_token"}, {"{p}embeddings.class_embedding"}, Layout::kVector},
               {{"vit.pos_embed"}, {"{p}embeddings.position_embedding.weight"}, Layout::kMatrix},
               {{"vit.patch_embed.weight"}, {"{p}embeddings.patch_embedding.weight"}, Layout::kConvolution},
               {{"projection.weight"}, {"visual_projection.weight"}}};
  add_layer(rows, "vit.norm_pre", "{p}pre_layrnorm");  // misspelt in every published file
  add_layer(rows, "vit.norm", "{p}post_layernorm");
  return joined({rows, clip_block(kBlock, "{p}encoder.layers.{i}.")});
}

Rows text_rows() {
  Rows rows = {{{"text.token_embedding"}, {"text_model.embeddings.token_embedding.weight"}},
               {{"text.pos_embed"}, {"text_model.embeddings.position_embedding.weight"}},
               {{"text_projection.weight"}, {"text_projection.weight"}}};
  add_layer(rows, "text.norm", "text_model.final_layer_norm");
  return joined({rows, clip_block("text.blocks.{i}.", "text_model.encoder.layers.{i}.")});
}

Rows siglip_rows() {
  const std::string pool = "attention_pool.";
  Rows head = {{{"vit.patch_embed.bias"}, {"{p}embeddings.patch_embedding.bias"}},
               {{pool + "probe"}, {"{p}head.probe"}},
               {{pool + "q.weight", pool + "k.weight", pool + "v.weight"}, {"{p}head.attention.in_proj_weight"}},
               {{pool + "q.bias", pool + "k.bias", pool + "v.bias"}, {"{p}head.attention.in_proj_bias"}}};
  add_layer(head, "attention_pool.proj", "{p}head.attention.out_proj");
  add_layer(head, "attention_pool.norm", "{p}head.layernorm");
  add_layer(head, "attention_pool.mlp.fc1", "{p}head.mlp.fc1");
  add_layer(head, "attention_pool.mlp.fc2", "{p}head.mlp.fc2");
  return joined({clip_rows(), head});
}

Rows openai_rows() {
  const std::string block = "visual.transformer.resblocks.{i}.", ours = kBlock;
  Rows rows = {{{"vit.cls_token"}, {"visual.class_embedding"}, Layout::kVector},
               {{"vit.pos_embed"}, {"visual.positional_embedding"}, Layout::kMatrix},
               {{"vit.patch_embed.weight"}, {"visual.conv1.weight"}, Layout::kConvolution},
               {{"projection.weight"}, {"visual.proj"}, Layout::kTransposed},
               {{ours + "ls1.gamma"}, {block + "ls_1.gamma"}},
               {{ours + "ls2.gamma"}, {block + "ls_2.gamma"}}};
  add_layer(rows, "vit.norm_pre", "visual.ln_pre");
  add_layer(rows, "vit.norm", "visual.ln_post");
  return joined({rows, openai_block(kBlock, block)});
}

Rows openai_text_rows() {
  Rows rows = {{{"text.token_embedding"}, {"{p}token_embedding.weight"}},
               {{"text.pos_embed"}, {"{p}positional_embedding"}},
               {{"text_projection.weight"}, {"{p}text_projection"}, Layout::kTransposed}};
  add_layer(rows, "text.norm", "{p}ln_final");
  return joined({rows, openai_block("text.blocks.{i}.", "{p}transformer.resblocks.{i}.")});
}

// Embedding and end of transformers' ViT, BEiT and DINOv2.
Rows transformers_rows() {
  Rows rows = {{{"vit.cls_token"}, {"{p}embeddings.cls_token"}},
               {{"vit.reg_token"}, {"{p}embeddings.register_tokens"}},
               {{"vit.pos_embed"}, {"{p}embeddings.position_embeddings"}},
               {{"vit.patch_embed.weight"}, {"{p}embeddings.patch_embeddings.projection.weight"}, Layout::kConvolution},
               {{"vit.patch_embed.bias"}, {"{p}embeddings.patch_embeddings.projection.bias"}}};
  add_layer(rows, "vit.norm", "{p}layernorm");
  add_layer(rows, "vit.norm", "layernorm");  // BeitForMaskedImageModeling keeps it beside the model
  add_layer(rows, "fc_norm", "{p}pooler.layernorm");
  add_layer(rows, "head", "classifier");
  const std::string block = "{p}encoder.layer.{i}.";
  return joined({rows, split_attention(kBlock, block + "attention.attention.", "query", "key", "value"),
                 layers(kBlock, block, {{"attn.proj", "attention.output.dense"}})});
}

Rows transformers_vit_rows() {
  const std::string block = "{p}encoder.layer.{i}.", ours = kBlock, table = "relative_position_bias_table";
  const std::string attention = block + "attention.attention.";
  const Rows extra = {{{ours + "attn.q_bias"}, {attention + "query.bias"}},  // where the key has no bias
                      {{ours + "attn.v_bias"}, {attention + "value.bias"}},
                      {{ours + "ls1.gamma"}, {block + "lambda_1"}},
                      {{ours + "ls2.gamma"}, {block + "lambda_2"}},
                      {{kSharedTable}, {"{p}encoder.relative_position_bias." + table}},
                      {{kBlockTable}, {attention + "relative_position_bias." + table}}};
  return joined({transformers_rows(), extra,
                 layers(kBlock, block,
                        {{"norm1", "layernorm_before"},
                         {"norm2", "layernorm_after"},
                         {"mlp.fc1", "intermediate.dense"},
                         {"mlp.fc2", "output.dense"}})});
}

Rows dinov2_rows() {
  const std::string block = "{p}encoder.layer.{i}.", ours = kBlock;
  const Rows scales = {{{ours + "ls1.gamma"}, {block + "layer_scale1.lambda1"}},
                       {{ours + "ls2.gamma"}, {block + "layer_scale2.lambda1"}}};
  return joined({transformers_rows(), scales,
                 layers(kBlock, block,
                        {{"norm1", "norm1"},
                         {"norm2", "norm2"},
                         {"mlp.fc1", "mlp.fc1"},
                         {"mlp.fc2", "mlp.fc2"},
                         {"mlp.fc1", "mlp.weights_in"},
                         {"mlp.fc2", "mlp.weights_out"}})});
}

// SigLIP's pooling in timm.
Rows timm_pool_rows() {
  const std::string pool = "attention_pool.";
  Rows rows = {{{pool + "probe"}, {"{p}attn_pool.latent"}}};
  for (const std::string leaf : {".weight", ".bias"}) {
    rows.push_back({{pool + "q" + leaf}, {"{p}attn_pool.q" + leaf}});
    rows.push_back({{pool + "k" + leaf, pool + "v" + leaf}, {"{p}attn_pool.kv" + leaf}});
  }
  for (const std::string layer : {"proj", "norm", "mlp.fc1", "mlp.fc2"})
    add_layer(rows, pool + layer, "{p}attn_pool." + layer);
  return rows;
}

// What EVA-02 adds to a block, as timm and as its official code name it.
Rows eva_rows() {
  const std::string block = "{p}blocks.{i}.", ours = kBlock, attn = block + "attn.", mlp = block + "mlp.";
  Rows rows = {{{ours + "attn.qkv.weight"}, {attn + "q_proj.weight", attn + "k_proj.weight", attn + "v_proj.weight"}},
               {{ours + "attn.q_bias"}, {attn + "q_proj.bias"}},
               {{ours + "attn.v_bias"}, {attn + "v_proj.bias"}}};
  for (const std::string leaf : {".weight", ".bias"}) {
    rows.push_back({{ours + "mlp.fc1" + leaf}, {mlp + "fc1_g" + leaf, mlp + "fc1_x" + leaf}});
    rows.push_back({{ours + "mlp.fc1" + leaf}, {mlp + "w1" + leaf, mlp + "w2" + leaf}});
  }
  return joined({rows, layers(kBlock, block,
                              {{"attn.norm", "attn.norm"},
                               {"attn.norm", "attn.inner_attn_ln"},
                               {"mlp.norm", "mlp.norm"},
                               {"mlp.norm", "mlp.ffn_ln"}})});
}

// timm's ViT, BEiT and EVA; the official code of BEiT, CAE, MAE, DINO, DINOv2 and EVA names its encoders alike.
Rows timm_rows() {
  const std::string block = "{p}blocks.{i}.", ours = kBlock, table = "relative_position_bias_table";
  Rows rows = {{{"vit.cls_token"}, {"{p}cls_token"}},
               {{"vit.reg_token"}, {"{p}reg_token"}},
               {{"vit.reg_token"}, {"{p}register_tokens"}},  // DINOv2's own name
               {{"vit.pos_embed"}, {"{p}pos_embed"}},
               {{"vit.patch_embed.weight"}, {"{p}patch_embed.proj.weight"}, Layout::kConvolution},
               {{"vit.patch_embed.bias"}, {"{p}patch_embed.proj.bias"}},
               {{ours + "attn.qkv.weight"}, {block + "attn.qkv.weight"}},
               {{ours + "attn.qkv.bias"}, {block + "attn.qkv.bias"}},
               {{ours + "attn.q_bias"}, {block + "attn.q_bias"}},
               {{ours + "attn.v_bias"}, {block + "attn.v_bias"}},
               {{ours + "ls1.gamma"}, {block + "ls1.gamma"}},
               {{ours + "ls2.gamma"}, {block + "ls2.gamma"}},
               {{ours + "ls1.gamma"}, {block + "gamma_1"}},
               {{ours + "ls2.gamma"}, {block + "gamma_2"}},
               {{kSharedTable}, {"{p}rel_pos_bias." + table}},
               {{kBlockTable}, {block + "attn." + table}}};
  add_layer(rows, "vit.norm_pre", "{p}norm_pre");
  add_layer(rows, "vit.norm", "{p}norm");
  add_layer(rows, "fc_norm", "{p}fc_norm");
  add_layer(rows, "head", "{p}head");
  return joined({rows, timm_pool_rows(),
                 layers(kBlock, block,
                        {{"attn.proj", "attn.proj"},
                         {"norm1", "norm1"},
                         {"norm2", "norm2"},
                         {"mlp.fc1", "mlp.fc1"},
                         {"mlp.fc2", "mlp.fc2"},
                         {"mlp.fc1", "mlp.w12"},
                         {"mlp.fc2", "mlp.w3"}}),
                 eva_rows()});
}

// A timm network as the image tower of a CLIP: its head, or a layer behind it, is the projection.
Rows timm_tower_rows() {
  Rows rows = timm_rows(), projection = {{{"projection.weight"}, {"visual.head.proj.weight"}},
                                         {{"projection.bias"}, {"visual.head.proj.bias"}},
                                         {{"projection.weight"}, {"image_projection"}, Layout::kTransposed}};  // SLIP
  for (NameRow& row : rows) {
    if (row.ours[0].starts_with("head.")) row.ours[0] = "projection" + row.ours[0].substr(4);
  }
  return joined({rows, projection});
}

Rows vqkd_rows() {
  Rows end;
  add_layer(end, "vit.norm", "{p}fc_norm");  // a mean-pooling encoder normalises its patch tokens by it
  Rows rows = joined({timm_rows(), end});
  std::erase_if(rows, [](const NameRow& row) { return !row.ours[0].starts_with("vit."); });
  return rows;
}

using Unneeded = std::vector<std::pair<std::string, std::string>>;

const Unneeded kTextSide = {{"text_model.", "text tower"},
                            {"text_projection", "text tower"},
                            {"logit_scale", "temperature of the contrastive loss"},
                            {"logit_bias", "bias of the contrastive loss"},
                            {"vision_model.embeddings.position_ids", "an index table"},
                            {"embeddings.position_ids", "an index table"}};

const Unneeded kOpenAiTextSide = {{"transformer.", "text tower"},
                                  {"text.", "text tower"},
                                  {"token_embedding.", "text tower"},
                                  {"positional_embedding", "text tower"},
                                  {"ln_final.", "text tower"},
                                  {"text_projection", "text tower"},
                                  {"logit_scale", "temperature of the contrastive loss"},
                                  {"logit_bias", "bias of the contrastive loss"},
                                  {"input_resolution", "a number of the archive"},
                                  {"context_length", "a number of the archive"},
                                  {"vocab_size", "a number of the archive"},
                                  {"attn_mask", "the causal mask"}};

const Unneeded kTransformersHeads = {
    {"classifier.", "classification head"},
    {"{p}pooler.", "pooling head"},
    {"lm_head.", "pretraining head"},
    {"decoder.", "pretraining decoder"},
    {"{p}embeddings.position_ids", "an index table"},
    {"{p}embeddings.mask_token", "pretraining token"},
    {"{p}encoder.relative_position_bias.relative_position_index", "an index table"},
    {"{p}encoder.layer.{i}.attention.attention.relative_position_bias.relative_position_index", "an index table"}};

const Unneeded kTimmHeads = {{"{p}head.", "classification head"},
                             {"{p}fc_norm.", "norm of the classification head"},
                             {"{p}lm_head.", "pretraining head"},
                             {"{p}attn_pool.", "attention pooling head"},
                             {"{p}mask_token", "pretraining token"},
                             {"{p}cls_pt_layers.", "layers of BEiT v2's class token in pretraining"},
                             {"decoder_", "pretraining decoder of MAE"},
                             {"{p}rope.freqs_", "a fixed table of EVA-02"},
                             {"{p}blocks.{i}.attn.rope.freqs_", "a fixed table of EVA-02"},
                             {"{p}rel_pos_bias.relative_position_index", "an index table"},
                             {"{p}blocks.{i}.attn.relative_position_index", "an index table"}};

const Unneeded kCaeParts = {{"{p}mask_token", "pretraining token"},
                            {"mask_token", "pretraining token"},
                            {"teacher.", "the target encoder"},
                            {"alignment_encoder.", "the target encoder"},
                            {"rd_pos_embed", "positions of the regressor"},
                            {"regresser.", "the regressor"},
                            {"pretext_neck.", "the regressor and the decoder"},
                            {"encoder_to_regresser", "input of the regressor"},
                            {"encoder_to_decoder", "input of the decoder"},
                            {"decoder.", "the decoder"}};

const Unneeded kVqkdParts = {{"decoder.", "the decoder"},
                             {"decode_task_layer.", "the decoder"},
                             {"quantize.cluster_size", "statistics of training"},
                             {"quantize.embedding.cluster_size", "statistics of training"},
                             {"quantize.embedding.embed_avg", "statistics of training"},
                             {"quantize.embedding.initted", "a flag of training"},
                             {"scaling_layer.", "normalisation of the teacher's pixels"},
                             {"teacher_model.", "the teacher of training"},
                             {"{p}mask_token", "pretraining token"}};

}  // namespace

const Family& clip_family() {
  static const Family kFamily = {.name = "CLIP (transformers)",
                                 .prefixes = {"vision_model.", ""},
                                 .marks = {"{p}embeddings.class_embedding", "{p}embeddings.patch_embedding.weight"},
                                 .foreign = {},
                                 .rows = clip_rows(),
                                 .unneeded = kTextSide,
                                 .config = ConfigKind::kTransformers,
                                 .norm_eps = 1e-5,
                                 .activation = "quick_gelu",
                                 .stats = kClipStats,
                                 .model_types = {"clip", "clip_vision_model", "metaclip_2", "metaclip_2_vision_model"}};
  return kFamily;
}

const Family& openai_clip_family() {
  static const Family kFamily = {.name = "CLIP (OpenAI, OpenCLIP)",
                                 .prefixes = {""},
                                 .marks = {"visual.class_embedding", "visual.conv1.weight"},
                                 .foreign = {},
                                 .rows = openai_rows(),
                                 .unneeded = kOpenAiTextSide,
                                 .config = ConfigKind::kOpenClip,
                                 .norm_eps = 1e-5,
                                 .activation = "quick_gelu",  // OpenAI's own; OpenCLIP's configuration says
                                 .stats = kClipStats};
  return kFamily;
}

const Family& vqkd_family() {
  static const Family kFamily = {.name = "BEiT v2's tokenizer",
                                 .prefixes = {"encoder."},
                                 .marks = {"{p}patch_embed.proj.weight", "encode_task_layer.0.weight"},
                                 .foreign = {},
                                 .rows = vqkd_rows(),
                                 .unneeded = kVqkdParts};
  return kFamily;
}

const std::vector<Family>& vit_families() {
  static const std::vector<Family> kFamilies = [] {
    Unneeded siglip_text = kTextSide;
    siglip_text.emplace_back("{p}head.", "attention pooling head");
    Unneeded cae = kTimmHeads;
    cae.insert(cae.end(), kCaeParts.begin(), kCaeParts.end());
    Unneeded tower = kTimmHeads;
    tower.insert(tower.end(), kOpenAiTextSide.begin(), kOpenAiTextSide.end());
    tower.emplace_back("image_mlp.", "head of self-supervision");
    const std::string patches = "{p}embeddings.patch_embeddings.projection.weight";
    return std::vector<Family>{
        clip_family(),
        {.name = "SigLIP (transformers)",
         .prefixes = {"vision_model.", ""},
         .marks = {"{p}embeddings.patch_embedding.weight", "{p}embeddings.patch_embedding.bias"},
         .foreign = {"{p}embeddings.class_embedding"},
         .rows = siglip_rows(),
         .unneeded = siglip_text,
         .config = ConfigKind::kTransformers,
         .norm_eps = 1e-6,
         .activation = "gelu_pytorch_tanh",
         .stats = {{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}},
         .model_types = {"siglip", "siglip_vision_model"}},
        openai_clip_family(),
        {.name = "DINOv2 (transformers)",
         .prefixes = {"", "dinov2.", "dinov2_with_registers."},
         .marks = {patches, "{p}encoder.layer.0.norm1.weight"},
         .foreign = {},
         .rows = dinov2_rows(),
         .unneeded = kTransformersHeads,
         .config = ConfigKind::kTransformers,
         .model_types = {"dinov2", "dinov2_with_registers"},
         .any_side = true},
        {.name = "ViT or BEiT (transformers)",
         .prefixes = {"", "vit.", "beit.", "data2vec_vision.", "deit.", "ijepa."},
         .marks = {patches, "{p}encoder.layer.0.layernorm_before.weight"},
         .foreign = {},
         .rows = transformers_vit_rows(),
         .unneeded = kTransformersHeads,
         .config = ConfigKind::kTransformers,
         .norm_eps = 1e-12,
         .model_types = {"vit", "vit_mae", "vit_msn", "beit", "data2vec-vision", "deit", "ijepa"}},
        {.name = "ViT or BEiT (timm)",
         .prefixes = {""},
         .marks = {"{p}patch_embed.proj.weight", "{p}blocks.0.norm1.weight"},
         .foreign = {},
         .rows = timm_rows(),
         .unneeded = kTimmHeads},
        {.name = "CLIP with a timm tower (OpenCLIP, SLIP)",
         .prefixes = {"visual.trunk.", "visual."},
         .marks = {"{p}patch_embed.proj.weight", "{p}blocks.0.norm1.weight"},
         .foreign = {},
         .rows = timm_tower_rows(),
         .unneeded = tower,
         .config = ConfigKind::kOpenClipTimm,
         .stats = kClipStats},
        {.name = "CAE encoder",
         .prefixes = {"encoder."},
         .marks = {"{p}patch_embed.proj.weight", "{p}blocks.0.attn.qkv.weight"},
         .foreign = {"encode_task_layer.0.weight"},
         .rows = timm_rows(),
         .unneeded = cae,
         .heads = {{192, 12}, {384, 12}, {768, 12}, {1024, 16}}},
    };
  }();
  return kFamilies;
}

const std::vector<NameRow>& clip_text_rows() {
  static const Rows kRows = text_rows();
  return kRows;
}

const std::vector<NameRow>& openai_clip_text_rows() {
  static const Rows kRows = openai_text_rows();
  return kRows;
}

}  // namespace lacuna
