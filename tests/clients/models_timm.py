"""Micro networks of timm's own architectures, saved by timm.models.save_for_hf, with the features timm computes.

The architecture's name stands for everything that `model_args` does not repeat (registers, the norm before the blocks,
QuickGELU, rotary positions), so a reader has to know the names.
"""

import timm
from timm.data import resolve_model_data_config

import support
from support import Features, Model

MICRO = dict(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3)


def save(network, folder):
    timm.models.save_for_hf(network, folder, safe_serialization=True, data_config=dict(crop_pct=1.0))
    return folder


def save_both(network, folder):
    timm.models.save_for_hf(network, folder, safe_serialization="both", data_config=dict(crop_pct=1.0))
    return folder


def features_of(network, layers, projected=None):
    return Features(
        layers,
        network.norm(layers[-1]),
        prefix=network.num_prefix_tokens,
        class_token=getattr(network, "cls_token", None) is not None,
        projected=projected,
    )


def compute(network, pixels):
    _, layers = support.watch(network.blocks, lambda: network.forward_features(pixels))
    return features_of(network, layers)


def model(architecture, family="ViT or BEiT (timm)", name=None, tolerance=support.F64, **arguments):
    def build():
        return support.randomise(timm.create_model(architecture, **{**MICRO, **arguments}))

    config = resolve_model_data_config(timm.create_model(architecture, **{**MICRO, **arguments}))
    return Model(
        name or architecture, family, build, save, compute, (config["mean"], config["std"]), tolerance=tolerance
    )


MODELS = [
    model("vit_base_patch16_224", num_classes=5),
    model("vit_base_patch16_224", name="vit_features_only", num_classes=0),
    model("vit_base_patch16_224_miil", num_classes=0),
    model("vit_base_patch16_gap_224", num_classes=5),
    model("vit_base_patch32_clip_224", num_classes=0),
    model("vit_base_patch32_clip_quickgelu_224", num_classes=40),
    model("vit_base_patch14_dinov2", num_classes=0),
    model("vit_base_patch14_reg4_dinov2", num_classes=0),
    model("vit_base_patch16_siglip_224", num_classes=0),
    model("vit_base_patch16_siglip_gap_224", num_classes=0),
    model("deit_base_patch16_224", num_classes=5),
    model("deit3_base_patch16_224", num_classes=5),
    model("beit_base_patch16_224", num_classes=5),
    model("beitv2_base_patch16_224", num_classes=0),
    model(
        "beit_base_patch16_224",
        name="beit_shared_bias",
        num_classes=0,
        use_rel_pos_bias=False,
        use_shared_rel_pos_bias=True,
        global_pool="token",
    ),
    model("eva_giant_patch14_224", num_classes=0),
    model("eva_giant_patch14_clip_224", num_classes=0),
    # timm keeps the tables of sines in float32, so that is how far its float64 goes.
    model("eva02_tiny_patch14_224", num_classes=0, tolerance=support.F32),
    model("eva02_base_patch14_224", num_classes=5, tolerance=support.F32),
    model("eva02_base_patch16_clip_224", num_classes=40, tolerance=support.F32),
    model("eva02_large_patch14_clip_224", num_classes=40, tolerance=support.F32),
]
