"""One network in every container that its users have; what must not be opened says why."""

import json
import os
import shutil

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save_file

import support

NAME = "transformers-CLIPModel"


@pytest.fixture
def folder(workshop, tmp_path):
    """A copy of the folder without its weights, and the weights."""
    model = tmp_path / "model"
    shutil.copytree(workshop.saved(NAME), model)
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    return model, weights


def check(workshop, model, tmp_path, expected=None):
    images, _ = workshop.images(32)
    found = support.embed(model, images, tmp_path, layers="0,all,last", features="class,patches")
    for key, value in found.items():
        support.assert_close(value, (expected or workshop.expected(NAME))[key], support.F64, key)


def test_safetensors_in_shards(folder, workshop, tmp_path):
    model, weights = folder
    save_torch_state_dict(weights, model, max_shard_size="60KB")
    assert len(list(model.glob("model-*.safetensors"))) > 2
    check(workshop, model, tmp_path)


def test_save_pretrained_in_shards(workshop, tmp_path):
    workshop.network(NAME).save_pretrained(tmp_path / "model", max_shard_size="60KB")
    shutil.copy(workshop.saved(NAME) / "preprocessor_config.json", tmp_path / "model")
    assert (tmp_path / "model/model.safetensors.index.json").exists()
    check(workshop, tmp_path / "model", tmp_path)


def test_pytorch_model_bin(folder, workshop, tmp_path):
    model, weights = folder
    torch.save(weights, model / "pytorch_model.bin")
    check(workshop, model, tmp_path)


def test_pytorch_model_bin_in_shards(folder, workshop, tmp_path):
    model, weights = folder
    save_torch_state_dict(weights, model, max_shard_size="60KB", safe_serialization=False)
    assert (model / "pytorch_model.bin.index.json").exists()
    check(workshop, model, tmp_path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_wrapped_state_dicts(prefix, key, folder, workshop, tmp_path):
    """DistributedDataParallel and torch.compile put words in front; training programs wrap the dictionary."""
    model, weights = folder
    torch.save(
        {key: {prefix + name: tensor for name, tensor in weights.items()}, "epoch": 3}, model / "pytorch_model.bin"
    )
    check(workshop, model, tmp_path)


def test_another_dictionary_by_its_key(folder, workshop, tmp_path):
    model, weights = folder
    file = model / "pytorch_model.bin"
    torch.save({"model": {name: tensor + 1 for name, tensor in weights.items()}, "model_ema": weights}, file)
    check(workshop, f"{file}#model_ema", tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_of_number(dtype, folder, workshop, tmp_path):
    model, weights = folder
    save_file({name: tensor.to(dtype) for name, tensor in weights.items()}, model / "model.safetensors")
    network = workshop.network(NAME)
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict({name: tensor.to(dtype).to(torch.float32) for name, tensor in kept.items()})
    pixels = support.normalised(workshop.images(32)[1], support.CLIP)
    from conftest import MODELS

    expected = MODELS[NAME].compute(network.double(), pixels).arrays()
    network.float().load_state_dict(kept)
    check(workshop, model, tmp_path, expected)


def test_views_share_storage(folder, workshop, tmp_path):
    """Transposed and strided tensors of one storage, as torch.save keeps them."""
    model, weights = folder
    shared = {
        name: tensor.t().contiguous().t() if tensor.dim() == 2 else torch.stack([tensor, tensor], -1)[..., 1]
        for name, tensor in weights.items()
    }
    torch.save(shared, model / "pytorch_model.bin")
    check(workshop, model, tmp_path)


def refused(model, *words):
    """Exit code 2 or 3, each of the words in what is said, and no file."""
    out = model.parent / "refused.npz"
    said = support.lacuna("embed", model, "shapes", "--out", out, code=(2, 3))
    assert not out.exists()
    for word in words:
        assert word in said, said


def test_legacy_files_are_refused_with_the_line_that_converts(folder):
    model, weights = folder
    torch.save(weights, model / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    refused(model, "pytorch_model.bin", "torch.save", "torch.load")


class RunsCode:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def test_pickles_that_run_code_are_refused_and_not_run(folder, tmp_path):
    model, weights = folder
    proof = tmp_path / "it-ran"
    torch.save({"model": weights, "args": RunsCode(proof)}, model / "pytorch_model.bin")
    refused(model, "system")
    assert not proof.exists()
    torch.load(model / "pytorch_model.bin", weights_only=False)
    assert proof.exists(), "the file was no danger to begin with"


def test_a_cut_file(folder):
    model, weights = folder
    save_file(weights, model / "model.safetensors")
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[:-100])
    refused(model, "model.safetensors")


def test_a_cut_torch_file(folder):
    model, weights = folder
    torch.save(weights, model / "pytorch_model.bin")
    whole = (model / "pytorch_model.bin").read_bytes()
    (model / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])
    refused(model, "pytorch_model.bin")


def test_a_tensor_too_many(folder):
    model, weights = folder
    save_file(
        weights | {"vision_model.encoder.layers.0.self_attn.gate.weight": torch.ones(3)}, model / "model.safetensors"
    )
    refused(model, "vision_model.encoder.layers.0.self_attn.gate.weight")


def test_a_tensor_too_few(folder):
    model, weights = folder
    del weights["vision_model.encoder.layers.1.mlp.fc1.bias"]
    save_file(weights, model / "model.safetensors")
    refused(model, "vision_model.encoder.layers.1.mlp.fc1.bias")


def edit(model, *keys, value):
    file = model / "config.json"
    config = part = json.loads(file.read_text())
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    "key, value",
    [
        ("image_size", 48),
        ("patch_size", 4),
        ("hidden_size", 64),
        ("num_hidden_layers", 3),
        ("intermediate_size", 96),
        ("num_attention_heads", 5),
        ("hidden_act", "relu"),
    ],
)
def test_a_configuration_that_contradicts_the_weights(key, value, folder):
    model, weights = folder
    save_file(weights, model / "model.safetensors")
    edit(model, "vision_config", key, value=value)
    refused(model, key.removeprefix("num_attention_"))


def test_openai_weights_with_the_wrong_activation(folder, tmp_path):
    """OpenAI's weights need QuickGELU; copies whose configuration says gelu are about."""
    model, weights = folder
    clip = tmp_path / "openai" / "clip-vit-base-patch16"
    shutil.copytree(model, clip)
    save_file(weights, clip / "model.safetensors")
    edit(clip, "vision_config", "hidden_act", value="gelu")
    said = support.lacuna("inspect", clip)
    assert "quick" in said.lower()
