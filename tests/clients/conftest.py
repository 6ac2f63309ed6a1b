"""Networks and images, made once and shared by all tests; nothing but temporary folders is written to."""

import functools

import pytest

import models_official
import models_openclip
import models_timm
import models_transformers
import support

SOURCES = {
    "transformers": models_transformers,
    "timm": models_timm,
    "open_clip": models_openclip,
    "official": models_official,
}
MODELS = {f"{source}-{model.name}": model for source, module in SOURCES.items() for model in module.MODELS}


class Workshop:
    """Networks by their full name, saved where Lacuna finds them."""

    def __init__(self, folder):
        self.folder = folder

    @functools.cache
    def network(self, name):
        return MODELS[name].build()

    @functools.cache
    def saved(self, name):
        return MODELS[name].save(self.network(name), self.folder / name)

    @functools.cache
    def images(self, side):
        """(folder, uint8 pixels) of three images that no preprocessing changes."""
        folder = self.folder / f"images-{side}"
        return folder, support.write_images(folder, [(side, side)] * 3)

    @functools.cache
    def expected(self, name):
        """What the client computes in float64."""
        model = MODELS[name]
        pixels = support.normalised(self.images(model.side)[1], model.stats)
        network = self.network(name)
        try:
            return model.compute(network.double(), pixels).arrays()
        finally:
            network.float()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("models"))


def pytest_configure(config):
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    import transformers

    transformers.utils.logging.disable_progress_bar()
