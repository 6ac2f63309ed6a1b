"""Images of other sizes reach the network as the client's own preprocessing brings them there.

The networks here are windows: their patch embedding is the identity and everything added to it is zero, so the input of
the first block is the pixels themselves.
"""

import json

import numpy
import pytest
import timm
import torch
import transformers as hf
from open_clip import create_model_and_transforms
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

import models_openclip
import support

SIDE, PATCH = 32, 8
WIDTH = 3 * PATCH * PATCH
SIZES = [(57, 40), (41, 100), (96, 96), (45, 33), (20, 26)]


def make_window(network, patches, others):
    for tensor in others:
        tensor.zero_()
    patches.weight.copy_(torch.eye(WIDTH).view(WIDTH, 3, PATCH, PATCH))
    if patches.bias is not None:
        patches.bias.zero_()
    return network.eval()


def pixels_seen(model, images, folder, stats, *settings):
    """uint8 [n,32,32,3] from the input of the first block, and how far that was from whole numbers."""
    grid = SIDE // PATCH
    rows = support.embed(model, images, folder, *settings, layers="0", features="patches")["patches", 0]
    pixels = rows.reshape(-1, grid, grid, 3, PATCH, PATCH).transpose(0, 1, 4, 2, 5, 3).reshape(-1, SIDE, SIDE, 3)
    levels = (pixels * numpy.array(stats[1]) + numpy.array(stats[0])) * 255
    assert numpy.abs(levels - levels.round()).max() < 1e-6, "normalised by other numbers than the client's"
    return levels.round().astype(int)


def levels_of(tensors, stats):
    """The client's normalised [3,32,32] as levels of 0 to 255; those of resampling in floats are rounded."""
    pixels = torch.stack(list(tensors)).double().permute(0, 2, 3, 1).numpy()
    return ((pixels * numpy.array(stats[1]) + numpy.array(stats[0])) * 255).round().astype(int)


def check_equal(found, expected):
    """Level by level; says which of the images differ, and how much."""
    apart = {size: int(numpy.abs(a - b).max()) for size, a, b in zip(SIZES, found, expected) if (a != b).any()}
    assert not apart, f"levels apart by the image's (height, width): {apart}"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return folder, [Image.fromarray(image) for image in support.write_images(folder, SIZES)]


def transformers_window():
    network = hf.ViTModel(
        hf.ViTConfig(
            hidden_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=3,
            intermediate_size=64,
            image_size=SIDE,
            patch_size=PATCH,
        )
    )
    embeddings = network.embeddings
    return make_window(
        network, embeddings.patch_embeddings.projection, [embeddings.cls_token, embeddings.position_embeddings]
    )


SQUARE = {"height": SIDE, "width": SIDE}
PROCESSORS = {
    "CLIPImageProcessor": (hf.CLIPImageProcessor, dict(size={"shortest_edge": SIDE}, crop_size=SQUARE)),
    "ViTImageProcessor": (hf.ViTImageProcessor, dict(size=SQUARE)),
    "SiglipImageProcessor": (hf.SiglipImageProcessor, dict(size=SQUARE)),
    "BeitImageProcessor": (hf.BeitImageProcessor, dict(size=SQUARE, do_center_crop=False)),
    "BitImageProcessor": (hf.BitImageProcessor, dict(size={"shortest_edge": 36}, crop_size=SQUARE)),  # as DINOv2 has it
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_transformers(name, images, tmp_path):
    kind, settings = PROCESSORS[name]
    model = tmp_path / "model"
    transformers_window().save_pretrained(model)
    kind(**settings).save_pretrained(model)
    processor = hf.AutoImageProcessor.from_pretrained(model, backend="pil")
    stats = processor.image_mean, processor.image_std
    expected = [torch.as_tensor(numpy.asarray(processor(image)["pixel_values"][0])) for image in images[1]]
    check_equal(pixels_seen(model, images[0], tmp_path, stats), levels_of(expected, stats))


TIMM = {
    "center": dict(crop_pct=0.9),
    "whole": dict(crop_pct=1.0),
    "squash": dict(crop_pct=1.0, crop_mode="squash"),
    "squash_crop": dict(crop_pct=0.875, crop_mode="squash"),
    "border": dict(crop_pct=1.0, crop_mode="border"),
    "bilinear": dict(crop_pct=0.875, interpolation="bilinear"),
}


@pytest.mark.parametrize("name", TIMM)
def test_timm(name, images, tmp_path):
    network = timm.create_model(
        "vit_base_patch16_224", img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=1, num_heads=3, num_classes=0
    )
    make_window(network, network.patch_embed.proj, [network.cls_token, network.pos_embed])
    model = tmp_path / "model"
    timm.models.save_for_hf(network, model, safe_serialization=True, data_config=TIMM[name])
    opened = timm.create_model(f"local-dir:{model}", pretrained=True)
    config = resolve_model_data_config(opened)
    transform = create_transform(**config, is_training=False)
    stats = config["mean"], config["std"]
    check_equal(
        pixels_seen(model, images[0], tmp_path, stats), levels_of([transform(image) for image in images[1]], stats)
    )


OPENCLIP = ["shortest", "squash", "longest"]


@pytest.mark.parametrize("mode", OPENCLIP)
def test_open_clip(mode, images, tmp_path):
    config = models_openclip.config_of(
        dict(image_size=SIDE, patch_size=PATCH, width=WIDTH, head_width=64, layers=1, no_ln_pre=True)
    )
    network = models_openclip.builder(config)()
    visual = network.visual
    make_window(network, visual.conv1, [visual.class_embedding, visual.positional_embedding])
    model = tmp_path / "model"
    models_openclip.saver(config)(network, model)
    file = model / "open_clip_config.json"
    whole = json.loads(file.read_text())
    whole["preprocess_cfg"]["resize_mode"] = mode
    file.write_text(json.dumps(whole))
    _, _, transform = create_model_and_transforms(f"local-dir:{model}")
    expected = [transform(image) for image in images[1]]
    check_equal(pixels_seen(model, images[0], tmp_path, support.CLIP), levels_of(expected, support.CLIP))
