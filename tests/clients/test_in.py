"""Weights that another program wrote give the features which that program computes."""

import pytest

import support
from conftest import MODELS


def check(name, workshop, folder, **settings):
    model, expected = MODELS[name], workshop.expected(name)
    images = workshop.images(model.side)[0]
    features = [feature for feature in ("class", "mean", "patches") if (feature, "last") in expected]
    found = support.embed(workshop.saved(name), images, folder, layers="0,all,last", features=",".join(features), **settings)
    if ("projected", "last") in expected:
        found |= support.embed(workshop.saved(name), images, folder, layers="last", features="projected", **settings)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        support.assert_close(value, expected[key], model.tolerance, key)


@pytest.mark.parametrize("name", MODELS)
def test_features_equal_the_clients(name, workshop, tmp_path):
    check(name, workshop, tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_inspect_names_the_family(name, workshop):
    said = support.lacuna("inspect", workshop.saved(name))
    assert MODELS[name].family.lower() in said.lower()
