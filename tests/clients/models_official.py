"""Checkpoints as the published training programs of CAE, BEiT and MAE write them: torch.save of a dictionary with the
state dict under "model", the optimizer, the arguments as argparse.Namespace, and every part of pretraining.

Their encoders are timm's networks (BEiT's with absolute positions is CAE's), which compute the features. The other parts
have the names and shapes that cae.py, modeling_pretrain.py and models_mae.py give them, and random values. No
configuration lies beside such a file, so heads are one for every 64 channels.
"""

import argparse
import copy
import pathlib

import numpy
import timm
import torch

import support
from models_timm import compute
from support import Model

WIDTH, GRID = 128, 4
MICRO = dict(img_size=32, patch_size=8, embed_dim=WIDTH, depth=2, num_heads=2)
FAMILY = "ViT or BEiT (timm)"


def linear(name, inputs, outputs, bias=True):
    return {f"{name}.weight": (outputs, inputs), **({f"{name}.bias": (outputs,)} if bias else {})}


def norm(name, width=WIDTH):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def block(name, width=WIDTH, gamma=True, qkv_bias=False):
    """A block of BEiT's programs; MAE's has one bias for query, key and value."""
    biases = (
        {f"{name}.attn.qkv.bias": (3 * width,)}
        if qkv_bias
        else {f"{name}.attn.q_bias": (width,), f"{name}.attn.v_bias": (width,)}
    )
    return {
        **({f"{name}.gamma_1": (width,), f"{name}.gamma_2": (width,)} if gamma else {}),
        **biases,
        **norm(f"{name}.norm1", width),
        **norm(f"{name}.norm2", width),
        **linear(f"{name}.attn.qkv", width, 3 * width, bias=False),
        **linear(f"{name}.attn.proj", width, width),
        **linear(f"{name}.mlp.fc1", width, 4 * width),
        **linear(f"{name}.mlp.fc2", 4 * width, width),
    }


def regressor_block(name):
    shapes = {
        f"{name}.gamma_1_cross": (WIDTH,),
        f"{name}.gamma_2_cross": (WIDTH,),
        f"{name}.cross_attn.q_bias": (WIDTH,),
        f"{name}.cross_attn.v_bias": (WIDTH,),
    }
    for part in ("norm1_q", "norm1_k", "norm1_v", "norm2_cross"):
        shapes |= norm(f"{name}.{part}")
    for part in "qkv":
        shapes |= linear(f"{name}.cross_attn.{part}", WIDTH, WIDTH, bias=False)
    return {
        **shapes,
        **linear(f"{name}.cross_attn.proj", WIDTH, WIDTH),
        **linear(f"{name}.mlp_cross.fc1", WIDTH, 4 * WIDTH),
        **linear(f"{name}.mlp_cross.fc2", 4 * WIDTH, WIDTH),
    }


def filled(shapes):
    draw = torch.Generator().manual_seed(5)
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def index_table():
    return torch.arange((GRID * GRID + 1) ** 2).view(GRID * GRID + 1, -1) % ((2 * GRID - 1) ** 2 + 3)


def cae(encoder, version=1):
    state = filled({"mask_token": (1, 1, WIDTH), "rd_pos_embed": (1, 1 + GRID * GRID, WIDTH)})
    state |= {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    if version == 1:
        state |= {f"alignment_encoder.{name}": tensor for name, tensor in encoder.items()}  # shares their storage
    else:
        state |= filled({**linear("encoder_to_regresser", WIDTH, WIDTH), **norm("encoder_to_regresser_norm")})
    state |= filled({**regressor_block("regresser.regressor_blocks.0"), **norm("regresser.norm")})
    if version == 1:
        state |= filled(block("decoder.decoder_blocks.0"))
    return state | filled({**norm("decoder.norm"), **linear("decoder.head", WIDTH, 12)})


def encoder_only(encoder):
    return {f"encoder.{name}": tensor for name, tensor in encoder.items()}


def fine_tuned(encoder):
    return encoder | {f"blocks.{i}.attn.relative_position_index": index_table() for i in range(2)}


def beit(encoder):
    return (
        encoder
        | filled({"mask_token": (1, 1, WIDTH), **linear("lm_head", WIDTH, 64)})
        | {"rel_pos_bias.relative_position_index": index_table()}
    )


def beit2(encoder):
    """With the two blocks of the class token's bottleneck and their head."""
    return beit(encoder) | filled({**block("cls_pt_layers.0"), **block("cls_pt_layers.1")})


def mae(encoder):
    return encoder | filled(
        {
            "mask_token": (1, 1, 64),
            "decoder_pos_embed": (1, 1 + GRID * GRID, 64),
            **linear("decoder_embed", WIDTH, 64),
            **block("decoder_blocks.0", 64, gamma=False, qkv_bias=True),
            **norm("decoder_norm", 64),
            **linear("decoder_pred", 64, 192),
        }
    )


def save_as(state_dict, name):
    """The whole checkpoint of a training program, whose optimizer holds numpy's numbers and its arguments a path."""

    def save(network, folder):
        folder.mkdir(parents=True)
        model = state_dict(copy.deepcopy(network).state_dict())
        parameters = [torch.nn.Parameter(torch.ones(3))]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3)
        parameters[0].grad = torch.ones(3)
        optimizer.step()
        optimizer.param_groups[0]["lr"] = numpy.float64(1.5e-3)
        args = argparse.Namespace(
            model=name,
            input_size=32,
            lr=1.5e-3,
            opt_betas=None,
            window_size=(GRID, GRID),
            output_dir=pathlib.PosixPath("out"),
            distributed=False,
        )
        torch.save(
            {
                "model": model,
                "optimizer": optimizer.state_dict(),
                "epoch": 7,
                "scaler": {"scale": 65536.0},
                "args": args,
            },
            folder / "checkpoint-7.pth",
        )
        return folder / "checkpoint-7.pth"

    return save


def model(name, architecture, state_dict, family=FAMILY, stats=support.IMAGENET, **settings):
    def build():
        return support.randomise(timm.create_model(architecture, **{**MICRO, **settings}))

    return Model(name, family, build, save_as(state_dict, name), compute, stats)


ABSOLUTE = dict(use_abs_pos_emb=True, use_rel_pos_bias=False, num_classes=0, global_pool="token")
SHARED = dict(
    use_abs_pos_emb=False, use_rel_pos_bias=False, use_shared_rel_pos_bias=True, num_classes=0, global_pool="token"
)

MODELS = [
    model("cae", "beit_base_patch16_224", cae, "CAE encoder", **ABSOLUTE),
    model("cae_v2", "beit_base_patch16_224", lambda encoder: cae(encoder, version=2), "CAE encoder", **ABSOLUTE),
    model("cae_encoder_only", "beit_base_patch16_224", encoder_only, "CAE encoder", **ABSOLUTE),
    model("cae_fine_tuned", "beit_base_patch16_224", fine_tuned, use_abs_pos_emb=True, num_classes=5),
    model("beit", "beit_base_patch16_224", beit, **SHARED),
    model("beit_fine_tuned", "beit_base_patch16_224", fine_tuned, num_classes=5),
    model("beit_v2", "beitv2_base_patch16_224", beit2, **SHARED),
    model("mae", "vit_base_patch16_224", mae, num_classes=0),
    model("mae_fine_tuned", "vit_base_patch16_224", dict, num_classes=5, global_pool="avg"),
]
