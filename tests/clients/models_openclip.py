"""Micro networks of OpenCLIP's own classes: in OpenCLIP's folders, and as OpenAI published CLIP.

OpenAI's program names its tensors exactly as OpenCLIP's CLIP class does, so that class stands for it: a state dict in
the mixture of float16 and float32 that OpenAI's files have, and a TorchScript archive of the network.
"""

import copy
import math

import torch
from open_clip.model import CLIP, CustomTextCLIP, convert_weights_to_fp16
from open_clip.push_to_hf_hub import save_for_hf

import models_timm
import support
from support import Features, Model

TEXT = dict(context_length=12, vocab_size=60, width=32, heads=2, layers=2)
VISION = dict(image_size=32, patch_size=8, width=48, head_width=12, layers=3)


class NoTokenizer:
    """save_for_hf writes a tokenizer, too; these networks have none."""

    def save_pretrained(self, folder):
        pass


def config_of(vision, text=None, custom=False, **settings):
    return {
        "embed_dim": 40,
        "vision_cfg": vision,
        "text_cfg": text or TEXT,
        **({"custom_text": True} if custom else {}),
        **settings,
    }


def builder(config):
    def build():
        arguments = {key: value for key, value in config.items() if key != "custom_text"}
        if "init_logit_scale" not in arguments:
            arguments["init_logit_scale"] = math.log(1 / 0.07)
        network = (CustomTextCLIP if config.get("custom_text") else CLIP)(**copy.deepcopy(arguments))
        network.visual.preprocess_cfg = {"interpolation": "bicubic", "resize_mode": "shortest"}
        network.visual.image_mean, network.visual.image_std = map(tuple, support.CLIP)
        return support.randomise(network)

    return build


def saver(config, safe=True):
    def save(network, folder):
        save_for_hf(network, NoTokenizer(), config, folder, safe_serialization=safe)
        return folder

    return save


def batch_first(layers, pixels):
    return [x if x.shape[0] == len(pixels) else x.transpose(0, 1) for x in layers]


def compute(network, pixels):
    visual = network.visual
    projected, layers = support.watch(visual.transformer.resblocks, lambda: network.encode_image(pixels))
    layers = batch_first(layers, pixels)
    return Features(layers, visual.ln_post(layers[-1]), projected=projected)


def compute_trunk(network, pixels):
    trunk = network.visual.trunk
    projected, layers = support.watch(trunk.blocks, lambda: network.encode_image(pixels))
    return models_timm.features_of(trunk, layers, projected)


FAMILY = "CLIP (OpenAI, OpenCLIP)"


def model(name, vision, safe=True, compute=compute, family=FAMILY, **settings):
    config = config_of(vision, **settings)
    return Model(name, family, builder(config), saver(config, safe), compute, support.CLIP, side=vision["image_size"])


OPENAI = config_of(dict(VISION, width=128, head_width=64), dict(TEXT, width=64, heads=1), quick_gelu=True)


def build_openai():
    network = builder(OPENAI)()
    halves = convert_weights(copy.deepcopy(network)).state_dict()
    network.load_state_dict({name: tensor.float() for name, tensor in halves.items()})
    return network


def convert_weights(network):
    """As OpenAI's files are: matrices of layers in float16; norms, embeddings and the temperature in float32."""
    convert_weights_to_fp16(network)
    return network


def save_openai_state(network, folder):
    folder.mkdir(parents=True)
    torch.save(convert_weights(copy.deepcopy(network)).state_dict(), folder / "ViT-B-16.pt")
    return folder / "ViT-B-16.pt"


def save_openai_archive(network, folder):
    folder.mkdir(parents=True)
    network = copy.deepcopy(network)
    for name, number in (("input_resolution", 32), ("context_length", 12), ("vocab_size", 60)):
        vars(network).pop(name, None)
        network.register_buffer(name, torch.tensor(number))
    image, text = torch.zeros(1, 3, 32, 32), torch.zeros(1, 12, dtype=torch.long)
    archive = torch.jit.trace_module(
        network, {"forward": (image, text), "encode_image": (image,), "encode_text": (text,)}, check_trace=False
    )
    halves = convert_weights(copy.deepcopy(network)).state_dict()
    for name, tensor in archive.named_parameters():
        tensor.data = halves[name].data
    archive.save(folder / "ViT-B-16.pt")
    return folder / "ViT-B-16.pt"


MODELS = [
    model("gelu", VISION),
    model("quick_gelu", VISION, quick_gelu=True),
    model("layer_scale", dict(VISION, ls_init_value=0.1)),
    model("custom_text", VISION, custom=True, init_logit_bias=-10.0),
    model("as_bin", VISION, safe=False),
    model(
        "timm_tower",
        dict(image_size=160, timm_model_name="test_vit", timm_pool="token", timm_proj="linear"),
        custom=True,
        compute=compute_trunk,
        family="CLIP with a timm tower (OpenCLIP, SLIP)",
    ),
    Model("openai_state_dict", FAMILY, build_openai, save_openai_state, compute, support.CLIP),
    Model("openai_torchscript", FAMILY, build_openai, save_openai_archive, compute, support.CLIP),
]
