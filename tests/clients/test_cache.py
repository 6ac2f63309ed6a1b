"""`teacher=org/name`: what the user already has in the Hugging Face cache is found by its name."""

import shutil

import pytest

import support

NAME = "transformers-ViTModel"
HASH = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(workshop, tmp_path):
    """The layout of the client: content under its hash, a snapshot of links, a name for the snapshot."""
    hub = tmp_path / "hub"
    model = hub / "models--google--vit-micro"
    for folder in (model / "blobs", model / "snapshots" / HASH, model / "refs"):
        folder.mkdir(parents=True)
    for i, file in enumerate(sorted(workshop.saved(NAME).iterdir())):
        shutil.copy(file, model / "blobs" / str(i))
        (model / "snapshots" / HASH / file.name).symlink_to(f"../../blobs/{i}")
    (model / "refs" / "main").write_text(HASH)
    return hub


def environment(**settings):
    return {"HF_HOME": "/nowhere", "HF_HUB_CACHE": "", "XDG_CACHE_HOME": "/nowhere", "HOME": "/nowhere", **settings}


@pytest.mark.parametrize("variables", [["HF_HUB_CACHE", ""], ["HF_HOME", ".."]])
@pytest.mark.parametrize("model", ["google/vit-micro", f"google/vit-micro@{HASH}", "google/vit-micro@main"])
def test_found_where_the_client_puts_it(variables, model, cache, workshop, tmp_path):
    variable, above = variables
    images, _ = workshop.images(32)
    out = tmp_path / "features.npz"
    support.lacuna(
        "embed", model, images, "--out", out, environment=environment(**{variable: str((cache / above).resolve())})
    )
    assert out.exists()


def test_the_client_finds_it_there_too(cache):
    """So the layout made here is the real one."""
    from huggingface_hub import try_to_load_from_cache

    assert str(try_to_load_from_cache("google/vit-micro", "config.json", cache_dir=cache)).endswith(
        f"{HASH}/config.json"
    )


def refusal(name, cache, workshop, tmp_path):
    """What embed says of a name that does not open."""
    return support.lacuna(
        "embed",
        name,
        workshop.images(32)[0],
        "--out",
        tmp_path / "f.npz",
        code=2,
        environment=environment(HF_HUB_CACHE=str(cache)),
    )


def test_absent_ones_are_named_with_the_way_to_fetch_them(cache, workshop, tmp_path):
    assert "hf download google/vit-other" in refusal("google/vit-other", cache, workshop, tmp_path)


def test_a_snapshot_without_weights_is_told_apart(cache, workshop, tmp_path):
    (cache / "models--google--vit-micro" / "snapshots" / HASH / "model.safetensors").unlink()
    said = refusal("google/vit-micro", cache, workshop, tmp_path)
    assert "hf download google/vit-micro" in said and "weights" in said
