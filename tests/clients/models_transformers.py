"""Micro networks of transformers' own classes, saved by save_pretrained, with the features those classes compute."""

import torch
import transformers as hf

import support
from support import Features, Model, built

SIDE = 32
SIZES = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, image_size=SIDE, patch_size=8)
BLOCKS = dict(SIZES, intermediate_size=112)


def saved(processor, **settings):
    """save_pretrained of the network and of its processor."""

    def save(network, folder, **how):
        network.save_pretrained(folder, **how)
        processor(**settings).save_pretrained(folder)
        return folder

    return save


EXACT = dict(size={"height": SIDE, "width": SIDE})
CLIP_SIZE = dict(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
save_clip = saved(hf.CLIPImageProcessor, **CLIP_SIZE)
save_siglip = saved(hf.SiglipImageProcessor, **EXACT)
save_vit = saved(hf.ViTImageProcessor, image_mean=support.IMAGENET[0], image_std=support.IMAGENET[1], **EXACT)
save_beit = saved(
    hf.BeitImageProcessor, image_mean=support.HALF[0], image_std=support.HALF[1], do_center_crop=False, **EXACT
)
save_dinov2 = saved(hf.BitImageProcessor, image_mean=support.IMAGENET[0], image_std=support.IMAGENET[1], **CLIP_SIZE)


def clip_config(activation, eps=1e-5):
    vision = dict(BLOCKS, hidden_act=activation, layer_norm_eps=eps, projection_dim=40)
    text = dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=99,
        max_position_embeddings=12,
        hidden_act=activation,
        projection_dim=40,
        eos_token_id=98,
        bos_token_id=97,
    )
    return hf.CLIPConfig(vision_config=vision, text_config=text, projection_dim=40)


def clip_features(network, pixels):
    vision = getattr(network, "vision_model", network)
    answer, layers = support.watch(vision.encoder.layers, lambda: vision(pixel_values=pixels))
    features = Features(layers, vision.post_layernorm(layers[-1]))
    if hasattr(network, "visual_projection"):
        if isinstance(network, hf.CLIPModel):
            features.projected = network.get_image_features(pixel_values=pixels).pooler_output
        else:
            features.projected = network(pixel_values=pixels).image_embeds
    return features


def siglip_features(network, pixels):
    vision = getattr(network, "vision_model", network)
    answer, layers = support.watch(vision.encoder.layers, lambda: vision(pixel_values=pixels))
    return Features(layers, answer.last_hidden_state, prefix=0, class_token=False)


def base_of(network):
    return getattr(network, network.base_model_prefix, network) if network.base_model_prefix else network


def encoder_features(prefix=1, **settings):
    """ViT, BEiT, data2vec and DINOv2; the final norm is the base model's, where it has one."""

    def compute(network, pixels):
        base = base_of(network)
        blocks = getattr(base, "layers", None) or getattr(base.encoder, "layer", None) or base.encoder.layers
        _, layers = support.watch(blocks, lambda: base(pixel_values=pixels, **settings))
        norm = next(
            (
                part
                for part in (
                    getattr(network, "layernorm", None),
                    getattr(base, "layernorm", None),
                    getattr(base, "norm", None),
                )
                if part is not None
            ),
            torch.nn.Identity(),
        )
        return Features(layers, norm(layers[-1]), prefix=prefix)

    return compute


def mae_features(network, pixels):
    """MAE shuffles the patches by noise: ascending noise and nothing hidden leave them in their order."""
    base = base_of(network)
    noise = torch.arange(16, dtype=pixels.dtype)[None].expand(len(pixels), -1)
    blocks = getattr(base, "layers", None) or getattr(base.encoder, "layer", None) or base.encoder.layers
    _, layers = support.watch(blocks, lambda: base(pixel_values=pixels, noise=noise))
    return Features(layers, base.layernorm(layers[-1]))


def mae_config():
    return hf.ViTMAEConfig(
        **BLOCKS,
        layer_norm_eps=1e-6,
        mask_ratio=0.0,
        decoder_hidden_size=24,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=48
    )


def beit_config(kind=hf.BeitConfig, **settings):
    return kind(
        **{
            **BLOCKS,
            "layer_norm_eps": 1e-6,
            "layer_scale_init_value": 0.1,
            "num_labels": 5,
            "vocab_size": 64,
            **settings,
        }
    )


PER_BLOCK = dict(use_relative_position_bias=True, use_absolute_position_embeddings=False)
SHARED = dict(use_shared_relative_position_bias=True, use_absolute_position_embeddings=False)
VIT = dict(BLOCKS, layer_norm_eps=1e-6)
DINOV2 = dict(SIZES, mlp_ratio=2)

CLIP_FAMILY, VIT_FAMILY = "CLIP (transformers)", "ViT or BEiT (transformers)"
MODELS = [
    Model(
        "CLIPModel",
        CLIP_FAMILY,
        built(lambda: hf.CLIPModel(clip_config("quick_gelu"))),
        save_clip,
        clip_features,
        support.CLIP,
    ),
    Model(
        "CLIPModel_gelu",
        CLIP_FAMILY,
        built(lambda: hf.CLIPModel(clip_config("gelu"))),
        save_clip,
        clip_features,
        support.CLIP,
    ),
    Model(
        "CLIPVisionModel",
        CLIP_FAMILY,
        built(lambda: hf.CLIPVisionModel(clip_config("quick_gelu").vision_config)),
        save_clip,
        clip_features,
        support.CLIP,
    ),
    Model(
        "CLIPVisionModelWithProjection",
        CLIP_FAMILY,
        built(lambda: hf.CLIPVisionModelWithProjection(clip_config("quick_gelu").vision_config)),
        save_clip,
        clip_features,
        support.CLIP,
    ),
    Model(
        "SiglipModel",
        "SigLIP (transformers)",
        built(
            lambda: hf.SiglipModel(
                hf.SiglipConfig(
                    vision_config=dict(BLOCKS),
                    text_config=dict(
                        hidden_size=48,
                        intermediate_size=64,
                        num_hidden_layers=1,
                        num_attention_heads=2,
                        vocab_size=50,
                        max_position_embeddings=8,
                    ),
                )
            )
        ),
        save_siglip,
        siglip_features,
        support.HALF,
    ),
    Model(
        "SiglipVisionModel",
        "SigLIP (transformers)",
        built(lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**BLOCKS))),
        save_siglip,
        siglip_features,
        support.HALF,
    ),
    Model(
        "Dinov2Model",
        "DINOv2 (transformers)",
        built(lambda: hf.Dinov2Model(hf.Dinov2Config(**DINOV2))),
        save_dinov2,
        encoder_features(),
    ),
    Model(
        "Dinov2Model_swiglu",
        "DINOv2 (transformers)",
        built(lambda: hf.Dinov2Model(hf.Dinov2Config(**DINOV2, use_swiglu_ffn=True))),
        save_dinov2,
        encoder_features(),
    ),
    Model(
        "Dinov2ForImageClassification",
        "DINOv2 (transformers)",
        built(lambda: hf.Dinov2ForImageClassification(hf.Dinov2Config(**DINOV2, num_labels=5))),
        save_dinov2,
        encoder_features(),
    ),
    Model(
        "Dinov2WithRegistersModel",
        "DINOv2 (transformers)",
        built(lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**DINOV2, num_register_tokens=4))),
        save_dinov2,
        encoder_features(prefix=5),
    ),
    Model("ViTModel", VIT_FAMILY, built(lambda: hf.ViTModel(hf.ViTConfig(**BLOCKS))), save_vit, encoder_features()),
    Model(
        "ViTForImageClassification",
        VIT_FAMILY,
        built(lambda: hf.ViTForImageClassification(hf.ViTConfig(**VIT, num_labels=5))),
        save_vit,
        encoder_features(),
    ),
    Model(
        "ViTModel_no_qkv_bias",
        VIT_FAMILY,
        built(lambda: hf.ViTModel(hf.ViTConfig(**VIT, qkv_bias=False))),
        save_vit,
        encoder_features(),
    ),
    Model("ViTMAEModel", VIT_FAMILY, built(lambda: hf.ViTMAEModel(mae_config())), save_vit, mae_features),
    Model(
        "ViTMAEForPreTraining", VIT_FAMILY, built(lambda: hf.ViTMAEForPreTraining(mae_config())), save_vit, mae_features
    ),
    Model(
        "BeitModel",
        VIT_FAMILY,
        built(lambda: hf.BeitModel(beit_config(use_mean_pooling=False, **PER_BLOCK))),
        save_beit,
        encoder_features(),
        support.HALF,
    ),
    Model(
        "BeitModel_absolute",
        VIT_FAMILY,
        built(lambda: hf.BeitModel(beit_config(use_mean_pooling=False, use_absolute_position_embeddings=True))),
        save_beit,
        encoder_features(),
        support.HALF,
    ),
    Model(
        "BeitModel_mean_pooling",
        VIT_FAMILY,
        built(lambda: hf.BeitModel(beit_config(use_mean_pooling=True, **PER_BLOCK))),
        save_beit,
        encoder_features(),
        support.HALF,
    ),
    Model(
        "BeitForImageClassification",
        VIT_FAMILY,
        built(lambda: hf.BeitForImageClassification(beit_config(use_mean_pooling=True, **PER_BLOCK))),
        save_beit,
        encoder_features(),
        support.HALF,
    ),
    Model(
        "BeitForMaskedImageModeling",
        VIT_FAMILY,
        built(lambda: hf.BeitForMaskedImageModeling(beit_config(use_mask_token=True, use_mean_pooling=True, **SHARED))),
        save_beit,
        encoder_features(),
        support.HALF,
    ),
    Model(
        "Data2VecVisionModel",
        VIT_FAMILY,
        built(lambda: hf.Data2VecVisionModel(beit_config(hf.Data2VecVisionConfig, use_mean_pooling=True, **PER_BLOCK))),
        save_beit,
        encoder_features(),
        support.HALF,
    ),
    Model(
        "Data2VecVisionForImageClassification",
        VIT_FAMILY,
        built(
            lambda: hf.Data2VecVisionForImageClassification(
                beit_config(hf.Data2VecVisionConfig, use_mean_pooling=True, **PER_BLOCK)
            )
        ),
        save_beit,
        encoder_features(),
        support.HALF,
    ),
]
