"""Networks of other than three channels, in both directions. The images are PNGs whose colours stand for bands, in an
order in which some come twice."""

import json

import numpy
import pytest
import timm
import transformers as hf

import models_timm
import models_transformers
import support
import test_out

BANDS = [2, 0, 1, 1, 0]
MEAN, STD = [0.4, 0.5, 0.45, 0.3, 0.6], [0.2, 0.25, 0.3, 0.22, 0.27]
COUNTS = [1, 2, 4, 5]


def bands_of(count):
    return f"data.bands={json.dumps(BANDS[:count])}"


def seen(pixels, count):
    return support.normalised([image[..., BANDS[:count]] for image in pixels], (MEAN[:count], STD[:count]))


def check(found, network, compute, pixels):
    expected = compute(network.double(), pixels).arrays()
    shared = found.keys() & expected.keys()
    assert ("patches", "last") in shared and len(shared) >= 6
    for key in shared:
        support.assert_close(found[key], expected[key], support.F64, key)


@pytest.mark.parametrize("count", COUNTS)
def test_timms_network(count, workshop, tmp_path):
    network = support.randomise(timm.create_model("vit_base_patch16_224", in_chans=count, **models_timm.MICRO))
    statistics = dict(crop_pct=1.0, mean=MEAN[:count], std=STD[:count], input_size=(count, 32, 32))
    timm.models.save_for_hf(network, tmp_path / "model", safe_serialization=True, data_config=statistics)
    images, pixels = workshop.images(32)
    found = support.embed(tmp_path / "model", images, tmp_path, bands_of(count), layers="0,all,last")
    check(found, network, models_timm.compute, seen(pixels, count))
    refused = support.lacuna("embed", tmp_path / "model", images, "--out", tmp_path / "x.npz", code=2)
    assert f"the network sees {count} channels" in refused and "data.bands" in refused


def test_transformers_network(workshop, tmp_path):
    sizes = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96)
    config = hf.ViTConfig(image_size=32, patch_size=8, num_channels=5, **sizes)
    network = support.randomise(hf.ViTModel(config, add_pooling_layer=False))
    network.save_pretrained(tmp_path / "model")
    processor = dict(image_mean=MEAN, image_std=STD, size={"height": 32, "width": 32}, do_rescale=True)
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(processor))
    images, pixels = workshop.images(32)
    found = support.embed(tmp_path / "model", images, tmp_path, bands_of(5), layers="0,all,last")
    check(found, network, models_transformers.encoder_features(1), seen(pixels, 5))


@pytest.mark.parametrize("count", COUNTS)
def test_a_run_goes_out(count, workshop, tmp_path):
    images, pixels = workshop.images(32)
    statistics = [f"student.mean={json.dumps(MEAN[:count])}", f"student.std={json.dumps(STD[:count])}"]
    settings = [word for word in test_out.TINY if not word.startswith(("data", "batch_size"))]
    run = tmp_path / "run"
    support.lacuna(
        "pretrain",
        "method=mae",
        *settings,
        f"data={images}",
        "batch_size=2",
        "augment.color_jitter=0",
        bands_of(count),
        *statistics,
        f"out={run}",
    )
    expected = support.embed(run, images, tmp_path, bands_of(count), layers="0,all,last")
    for target in test_out.TOWERS:
        folder = tmp_path / target
        test_out.export(run, folder, target)
        if target == "timm":
            assert json.loads((folder / "config.json").read_text())["pretrained_cfg"]["input_size"][0] == count
        for opens, computes in test_out.CLIENTS[target]:
            if opens is test_out.open_transformers and target == "timm":
                continue  # its wrapper of timm's networks leaves in_chans to the caller
            found = computes(opens(folder).double(), seen(pixels, count)).arrays()
            for key in found.keys() & expected.keys():
                support.assert_close(found[key], expected[key], support.F64, (target, key))
    again = support.embed(tmp_path / "hf", images, tmp_path, bands_of(count), layers="last")
    assert numpy.array_equal(again["class", "last"], expected["class", "last"])
