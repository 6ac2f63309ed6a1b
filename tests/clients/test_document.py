"""docs/weights.md is executed: each fenced block of `sh` or `python`, in the order of the page, in one folder that holds
what the page says it holds. So is what the model card of an export says about loading it.

`lacuna` is on the PATH of the shell; `images` in Python is a preprocessed tensor of the pictures.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import torch

import support
from test_out import runs  # noqa: F401  a fixture

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "weights.md"


def blocks_of(text):
    """[(language, line, source)]"""
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)
    return [(match[1], text[: match.start()].count("\n") + 1, match[2]) for match in found]


BLOCKS = blocks_of(PAGE.read_text())


def shell(source, folder):
    path = f"{pathlib.Path(os.environ['LACUNA']).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", source],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, source + ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def folder(workshop, runs, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(runs.run("mae"), folder / "run")
    shutil.copytree(workshop.saved("transformers-CLIPModel"), folder / "clip")
    shutil.copy(workshop.saved("official-mae"), folder / "checkpoint.pth")
    shutil.copytree(workshop.images(32)[0], folder / "images")
    return folder


@pytest.fixture
def images(workshop):
    return support.normalised(workshop.images(32)[1], support.IMAGENET, torch.float32)


def execute(source, folder, names, monkeypatch):
    monkeypatch.chdir(folder)
    exec(compile(source, str(PAGE), "exec"), names)  # the page's own text
    return names


def test_the_page_has_examples():
    languages = [language for language, _, _ in BLOCKS]
    assert languages.count("sh") >= 6 and languages.count("python") >= 6


# One test for each block; they run in the page's order, because pytest keeps the order of a file.
@pytest.mark.parametrize(
    "language, line, source", BLOCKS, ids=[f"line{line}-{language}" for language, line, _ in BLOCKS]
)
def test_the_page(language, line, source, folder, images, monkeypatch):
    if language == "sh":
        return shell(source, folder)
    names = execute(source, folder, {"images": images}, monkeypatch)
    if isinstance(names.get("features"), torch.Tensor):
        assert torch.isfinite(names["features"]).all() and len(names["features"]) == len(images)


def test_the_pages_features_are_those_of_the_run(folder, workshop, images, tmp_path, monkeypatch):
    """The examples of timm's folder, once more, with their numbers."""
    expected = support.embed(
        folder / "run", folder / "images", tmp_path, dtype="f32", layers="last", features="class,patches"
    )
    tried = 0
    for language, _, source in BLOCKS:
        if language == "python" and "for-timm" in source:
            features = execute(source, folder, {"images": images}, monkeypatch)["features"]
            support.assert_close(features[:, 0], expected["class", "last"], support.F32, source)
            support.assert_close(features[:, 1:], expected["patches", "last"], support.F32, source)
            tried += 1
    assert tried == 2


CARDS = [("mae", "timm"), ("cae_v2", "hf"), ("clip", "hf"), ("clip", "openclip"), ("mae", "safetensors")]


@pytest.mark.parametrize("method, target", CARDS)
def test_what_a_model_card_says_about_loading(method, target, runs, images, tmp_path, monkeypatch):  # noqa: F811
    folder = tmp_path / "export"
    support.lacuna("export", runs.run(method), folder, f"--to={target}")
    sources = [source for language, _, source in blocks_of((folder / "README.md").read_text()) if language == "python"]
    assert sources
    for source in sources:
        names = execute(source.replace("FOLDER", str(folder)), tmp_path, {"images": images}, monkeypatch)
        features = names.get("features")
        features = getattr(features, "pooler_output", features)  # CLIPModel wraps them
        assert "tensors" in names or len(features) == len(images)
