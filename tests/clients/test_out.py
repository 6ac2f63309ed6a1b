"""Folders that `lacuna export` writes open by the ordinary public call of each client, strictly, and give the features of
the network they came from; what goes out, comes in and goes out again is the same bytes."""

import functools
import json

import numpy
import pytest
import timm
import torch
import transformers as hf
from open_clip import create_model_and_transforms
from safetensors import safe_open

import models_openclip
import models_timm
import models_transformers
import support
from conftest import MODELS

TINY = [
    *support.SMALL_RUN,
    "lr=1e-2",
    "eval.every=0",
    "log.pictures=0",
    "seed=1",
    "duration=3 steps",
]
BLOCKS = ["mask.min_block=2"]
# A run of each kind of student: positions, biases, layer scale, a class token or none, a norm before the blocks.
RUNS = {
    "clip": [],
    "mae": [],
    "maskclip": ["text_tower.activation=gelu"],  # OpenCLIP has one activation for both towers
    "data2vec": BLOCKS,
    "maskdistill": ["teacher", *BLOCKS],
    "cae_v2": ["teacher", *BLOCKS],
    "eva": ["teacher", *BLOCKS],
}


class Runs:
    def __init__(self, folder):
        self.folder = folder

    @functools.cache
    def run(self, method):
        settings = [f"teacher={self.run('clip')}/export" if word == "teacher" else word for word in RUNS[method]]
        support.lacuna("pretrain", f"method={method}", *TINY, *settings, f"out={self.folder / method}")
        return self.folder / method


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("runs"))


def stored(folder):
    names = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            names |= set(opened.keys())
    return names


def open_timm(folder):
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert stored(folder) == set(network.state_dict()), "timm passes over tensors, or misses some"
    return network


def open_transformers(folder, kind=hf.AutoModel):
    """Strictly. Classes that would add a pooler which the file does not have are told so, as users must, too. AutoModel
    knows no class with a projection for CLIP's vision tower; the configuration names it."""
    config = json.loads((folder / "config.json").read_text())
    if kind is hf.AutoModel and config.get("architectures") == ["CLIPVisionModelWithProjection"]:
        kind = hf.CLIPVisionModelWithProjection
    bare = config.get("model_type") in ("vit", "beit", "data2vec-vision") and kind is hf.AutoModel
    settings = dict(add_pooling_layer=False) if bare and not any("pooler" in name for name in stored(folder)) else {}
    network, report = kind.from_pretrained(folder, output_loading_info=True, **settings)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        left = [name for name in report.get(key) or [] if not (kind is hf.AutoModel and is_head(name))]
        assert not left, f"{key}: {left}"
    return network.eval()


def is_head(name):
    """AutoModel of a folder with a classifier leaves the classifier."""
    return ".head." in name or name.startswith(("classifier.", "head."))


def transformers_features(network, pixels):
    if isinstance(network, hf.TimmWrapperModel):
        return models_timm.compute(network.timm_model, pixels)
    if "clip" in type(network).__name__.lower():
        return models_transformers.clip_features(network, pixels)
    if "siglip" in type(network).__name__.lower():
        return models_transformers.siglip_features(network, pixels)
    prefix = 1 + getattr(network.config, "num_register_tokens", 0)
    return models_transformers.encoder_features(prefix)(network, pixels)


def open_open_clip(folder):
    return create_model_and_transforms(f"local-dir:{folder}")[0].eval()


# target: [(how a client opens the folder, how it computes)]
CLIENTS = {
    "timm": [(open_timm, models_timm.compute), (open_transformers, transformers_features)],
    "hf": [(open_transformers, transformers_features)],
    "openclip": [(open_open_clip, models_openclip.compute)],
}
TOWERS = ["timm", "hf"]  # targets for an image tower by itself


def stats_of(folder):
    """As the client of the folder says them."""
    if (folder / "open_clip_config.json").exists():
        visual = open_open_clip(folder).visual
        return list(visual.image_mean), list(visual.image_std)
    processor = hf.AutoImageProcessor.from_pretrained(folder)
    if hasattr(processor, "data_config"):  # the wrapper of timm
        return processor.data_config["mean"], processor.data_config["std"]
    return processor.image_mean, processor.image_std


def export(source, folder, target, *settings, code=0):
    return support.lacuna("export", source, folder, f"--to={target}", *settings, code=code)


def check_clients(folder, target, expected, pixels, tolerance=support.F64):
    for opens, computes in CLIENTS[target]:
        found = computes(opens(folder).double(), pixels).arrays()
        shared = found.keys() & expected.keys()
        assert ("patches", "last") in shared and len(shared) >= 6
        for key in shared:
            support.assert_close(found[key], expected[key], tolerance, (opens.__name__, key))


POOLING, HEAD, ROTARY = "attention pooling", "classif", "rotary"
OF_THE_HEAD = (POOLING, HEAD)  # without it they go out

# What a client has no form for, or we do not write, with a word of the reason.
REFUSED = {
    ("maskclip", "hf"): "norm before the blocks",
    ("transformers-SiglipModel", "timm"): POOLING,
    ("transformers-SiglipVisionModel", "timm"): POOLING,
    ("timm-vit_base_patch16_siglip_224", "timm"): POOLING,
    ("transformers-Dinov2ForImageClassification", "timm"): HEAD,
    ("transformers-Dinov2ForImageClassification", "hf"): HEAD,
    ("timm-vit_base_patch16_gap_224", "hf"): HEAD,
    ("timm-vit_base_patch32_clip_quickgelu_224", "hf"): HEAD,
    ("transformers-ViTModel", "timm"): "epsilon",
    ("transformers-Data2VecVisionModel", "timm"): "has none",  # of norms after the blocks
    ("open_clip-layer_scale", "hf"): "layer scale",
    ("open_clip-custom_text", "hf"): "no bias to its logits",
    ("open_clip-timm_tower", "hf"): "norm before the blocks",
    **{(name, target): ROTARY for name in MODELS if "eva02" in name for target in TOWERS},
}


BOTH_TOWERS = ["clip", "maskclip"]


@pytest.mark.parametrize(
    "method, target",
    [(method, target) for method in RUNS for target in TOWERS] + [(method, "openclip") for method in BOTH_TOWERS],
)
def test_a_run(method, target, runs, workshop, tmp_path):
    run, folder = runs.run(method), tmp_path / "export"
    if (method, target) in REFUSED:
        assert REFUSED[method, target] in export(run, folder, target, code=2)
        return
    export(run, folder, target)
    images, pixels = workshop.images(32)
    expected = support.embed(run, images, tmp_path, layers="0,all,last")
    # OpenCLIP has no bias on the patches; adding it to the positions rounds in float32.
    tolerance = support.F32 if (method, target) == ("maskclip", "openclip") else support.F64
    check_clients(folder, target, expected, support.normalised(pixels, stats_of(folder)), tolerance)


@pytest.mark.parametrize("method", RUNS)
def test_the_folder_a_run_leaves_behind(method, runs, workshop, tmp_path):
    run = runs.run(method)
    images, pixels = workshop.images(32)
    expected = support.embed(run, images, tmp_path, layers="0,all,last")
    target = "hf" if method == "clip" else "timm"
    check_clients(run / "export", target, expected, support.normalised(pixels, stats_of(run / "export")))


WITH_TEXT = [
    "transformers-CLIPModel",
    "transformers-CLIPModel_gelu",
    "open_clip-gelu",
    "open_clip-quick_gelu",
    "open_clip-layer_scale",
    "open_clip-custom_text",
    "open_clip-openai_state_dict",
    "open_clip-openai_torchscript",
]


@pytest.mark.parametrize(
    "name, target",
    [(name, target) for name in MODELS for target in TOWERS] + [(name, "openclip") for name in WITH_TEXT],
)
def test_a_network_of_a_client(name, target, workshop, tmp_path):
    """From one client through Lacuna to another."""
    model, folder = MODELS[name], tmp_path / "export"
    reason = REFUSED.get((name, target))
    if reason:
        assert reason in export(workshop.saved(name), folder, target, code=(2, 3))
        if reason not in OF_THE_HEAD:
            return
    export(workshop.saved(name), folder, target, *(["--head=false"] if reason else []))
    pixels = workshop.images(model.side)[1]
    assert numpy.allclose(stats_of(folder), model.stats, rtol=0, atol=1e-12)
    # With registers, timm's class token takes in its position, which rounds in float32.
    rounds = target == "timm" and "Registers" in name
    tolerance = support.F32 if rounds else model.tolerance
    check_clients(folder, target, workshop.expected(name), support.normalised(pixels, stats_of(folder)), tolerance)


def logits(network, pixels):
    answer = (
        network(pixels)
        if isinstance(network, torch.nn.Module) and not isinstance(network, hf.PreTrainedModel)
        else network(pixel_values=pixels)
    )
    return (answer if isinstance(answer, torch.Tensor) else answer.logits).double().numpy()


CLASSIFIERS = [
    name
    for name in MODELS
    if "ForImageClassification" in name
    or name
    in (
        "timm-vit_base_patch16_224",
        "timm-vit_base_patch16_gap_224",
        "timm-beit_base_patch16_224",
        "timm-deit3_base_patch16_224",
    )
]


@pytest.mark.parametrize(
    "name, target", [(name, target) for name in CLASSIFIERS for target in TOWERS if (name, target) not in REFUSED]
)
def test_a_classifier(name, target, workshop, tmp_path):
    model, folder = MODELS[name], tmp_path / "export"
    pixels = support.normalised(workshop.images(32)[1], model.stats)
    source = workshop.network(name)
    expected = logits(source.double(), pixels)
    source.float()
    export(workshop.saved(name), folder, target)
    networks = [open_transformers(folder, hf.AutoModelForImageClassification)] + (
        [open_timm(folder)] if target == "timm" else []
    )
    for network in networks:
        support.assert_close(logits(network.double(), pixels), expected, support.F64, type(network).__name__)
    if isinstance(source, hf.PreTrainedModel):
        assert networks[0].config.id2label == source.config.id2label


def text_features(network, ids):
    if isinstance(network, hf.CLIPModel):
        return network.get_text_features(input_ids=ids).pooler_output, network.logit_scale
    return network.encode_text(ids), network.logit_scale


@pytest.mark.parametrize(
    "name, target",
    [(name, target) for name in WITH_TEXT for target in ("hf", "openclip") if (name, target) not in REFUSED],
)
def test_a_text_tower(name, target, workshop, tmp_path):
    """Its features and the temperature go along with the image tower."""
    folder = tmp_path / "export"
    export(workshop.saved(name), folder, target)
    source = workshop.network(name)
    words = source.config.text_config.vocab_size if isinstance(source, hf.CLIPModel) else source.vocab_size
    ids = torch.tensor([[words - 2, 5, 17, 3, words - 1, 0, 0, 0], [words - 2, 40, 8, 21, 11, 30, 2, words - 1]])
    ids = torch.nn.functional.pad(ids, (0, 4), value=0)
    expected = [tensor.detach() for tensor in text_features(source.double(), ids)]
    source.float()
    found = text_features(CLIENTS[target][0][0](folder).double(), ids)
    for a, b in zip(found, expected):
        support.assert_close(a.detach().numpy(), b.numpy(), support.F64, name)


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix in (".json", ".safetensors")}


ROUND = [
    "run:maskdistill",
    "run:cae_v2",
    "transformers-BeitModel",
    "transformers-Dinov2Model",
    "transformers-Dinov2WithRegistersModel",
    "timm-vit_base_patch16_224",
    "official-beit",
]


@pytest.mark.parametrize(
    "source, target",
    [(source, target) for source in ROUND for target in TOWERS]
    + [("transformers-CLIPModel", "hf"), ("run:clip", "openclip"), ("open_clip-quick_gelu", "openclip")],
)
def test_out_in_and_out_again_is_the_same_bytes(source, target, runs, workshop, tmp_path):
    kind, _, method = source.partition(":")
    start = runs.run(method) if kind == "run" else workshop.saved(source)
    export(start, tmp_path / "first", target)
    export(tmp_path / "first", tmp_path / "second", target)
    first, second = files_of(tmp_path / "first"), files_of(tmp_path / "second")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
