"""Weights that another program wrote give the features which that program computes."""

import json

import pytest

import support
from conftest import MODELS


def check(name, workshop, folder, **settings):
    model, expected = MODELS[name], workshop.expected(name)
    images = workshop.images(model.side)[0]
    features = [feature for feature in ("class", "mean", "patches") if (feature, "last") in expected]
    found = support.embed(
        workshop.saved(name), images, folder, layers="0,all,last", features=",".join(features), **settings
    )
    if ("projected", "last") in expected:
        found |= support.embed(workshop.saved(name), images, folder, layers="last", features="projected", **settings)
    assert sorted(map(str, found)) == sorted(map(str, expected))
    for key, value in found.items():
        support.assert_close(value, expected[key], model.tolerance, key)


@pytest.mark.parametrize("name", MODELS)
def test_features_equal_the_clients(name, workshop, tmp_path):
    check(name, workshop, tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_inspect_names_the_family(name, workshop, tmp_path):
    support.lacuna("inspect", workshop.saved(name), "--json", tmp_path / "facts.json")
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["family"] == MODELS[name].family
    opens = [use["as"] for use in facts["uses"] if use["opens"]]
    assert any("teacher" in use for use in opens), facts["uses"]
