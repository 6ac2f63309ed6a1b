"""What all client tests share: images, random weights, the features that a client computes, and the program."""

import dataclasses
import hashlib
import os
import pathlib
import subprocess
import typing

import numpy
import torch
from PIL import Image
from safetensors import safe_open

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
HALF = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])

# Relative to the largest of 1 and the root mean square of what is expected.
F64, F32 = 1e-9, 1e-5

# Settings of a run that takes a moment.
SMALL_RUN = [
    "model=micro",
    "data=shapes",
    "data.size=64",
    "data.side=32",
    "image_size=32",
    "patch_size=8",
    "batch_size=8",
    "precision=f32",
    "threads=1",
]


def random_image(height, width, seed):
    """Smooth colours with grain, so that resizing and normalising both show."""
    draw = numpy.random.default_rng(seed)
    rows, columns = numpy.mgrid[0:height, 0:width]
    channels = []
    for _ in range(3):
        a, b, c = draw.uniform(0.05, 0.5, 3)
        channels.append(
            110 + 70 * numpy.sin(a * rows + c) * numpy.cos(b * columns) + draw.normal(0, 20, (height, width))
        )
    return numpy.stack(channels, -1).clip(0, 255).astype(numpy.uint8)


def write_images(folder, sizes):
    """PNG files of these (height, width), in the order of their names; returns the pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [random_image(height, width, seed) for seed, (height, width) in enumerate(sizes)]
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:02}.png")
    return images


def normalised(images, stats, dtype=torch.float64):
    """uint8 [S,S,I] each -> [B,I,S,S]."""
    mean, std = (torch.tensor(numbers, dtype=torch.float64).view(1, -1, 1, 1) for numbers in stats)
    pixels = torch.from_numpy(numpy.stack(images)).permute(0, 3, 1, 2).to(torch.float64)
    return ((pixels / 255 - mean) / std).to(dtype)


def randomise(module, seed=0):
    """Gives every float tensor of the state values that matter: no zeros, ones or equal halves left from the start."""
    for name, tensor in sorted(module.state_dict().items()):
        if not tensor.is_floating_point():
            continue
        number = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big")
        draw = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(number))
        if tensor.dim() >= 2 and not name.endswith(("token", "embed", "embeddings", "table", "probe", "latent")):
            draw *= (tensor[0].numel()) ** -0.5  # matrices keep the size of what they multiply
        elif name.endswith("weight") or any(part in name for part in ("gamma", "lambda")):
            draw = 0.9 + 0.2 * draw  # norms and layer scales
        else:
            draw *= 0.3
        if tensor.dim() == 0:
            draw = tensor + 0.1 * draw
        tensor.copy_(draw)
    return module.eval()


@dataclasses.dataclass
class Features:
    """Tokens [B,T,D] as a client computes them: `layers[0]` enters the first block, `layers[i]` leaves block i."""

    layers: list
    last: torch.Tensor  # after the final norm, where there is one
    prefix: int = 1  # tokens before the patches
    class_token: bool = True
    projected: torch.Tensor | None = None  # [B,K]

    def arrays(self):
        """As `lacuna embed` names them, {(feature, layer): array}."""
        found = {}
        for layer, tokens in [*enumerate(self.layers), ("last", self.last)]:
            if tokens is None:
                continue
            patches = tokens[:, self.prefix :]
            found["patches", layer] = patches
            found["mean", layer] = patches.mean(1)
            if self.class_token:
                found["class", layer] = tokens[:, 0]
        if self.projected is not None:
            found["projected", "last"] = self.projected
        return {key: value.detach().to(torch.float64).numpy() for key, value in found.items()}


@dataclasses.dataclass
class Model:
    """A network of a client. `build` gives it with random weights in float32, `save` writes it as its users do,
    `compute` runs it (in the type of the pixels) on normalised images."""

    name: str
    family: str  # what `lacuna inspect` must call it
    build: typing.Callable
    save: typing.Callable  # (network, folder) -> what Lacuna is given
    compute: typing.Callable  # (network, pixels) -> Features
    stats: tuple = IMAGENET
    side: int = 32
    tolerance: float = F64  # of features in float64


def built(make):
    """A Model's `build` from a constructor."""
    return lambda: randomise(make())


def watch(blocks, run):
    """Calls run() and returns (its answer, [input of the first block, output of each])."""
    seen = []

    def first(_, arguments, keywords):
        seen.append(arguments[0] if arguments else keywords["hidden_states"])

    def leaves(_, __, output):
        seen.append(output[0] if isinstance(output, tuple) else output)

    hooks = [blocks[0].register_forward_pre_hook(first, with_kwargs=True)]
    hooks += [block.register_forward_hook(leaves) for block in blocks]
    with torch.no_grad():
        answer = run()
    for hook in hooks:
        hook.remove()
    return answer, seen


def lacuna(*words, code=0, environment=None):
    """Runs the program; the answer is what it printed."""
    ended = subprocess.run(
        [os.environ["LACUNA"], *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    said = ended.stdout + ended.stderr
    codes = code if isinstance(code, tuple) else (code,)
    assert ended.returncode in codes, f"lacuna {' '.join(map(str, words))}\nexit code {ended.returncode}:\n{said}"
    return said


def embed(model, images, folder, *settings, layers="0", dtype="f64", features="class,mean,patches"):
    """`lacuna embed` through a safetensors file: {(feature, layer): array}."""
    out = pathlib.Path(folder) / "features.safetensors"
    out.unlink(missing_ok=True)
    lacuna(
        "embed",
        model,
        images,
        "--out",
        out,
        f"--dtype={dtype}",
        f"--layer={layers}",
        f"--features={features}",
        *settings,
    )
    found = {}
    with safe_open(out, "numpy") as file:
        for name in file.keys():
            if name.startswith("names"):
                continue
            feature, _, layer = name.partition(".")
            layer = layer or layers
            found[feature, int(layer) if layer.isdigit() else layer] = file.get_tensor(name)
    return found


def difference(found, expected):
    """Largest, relative to the largest of 1 and the root mean square of what is expected."""
    assert found.shape == expected.shape, f"{found.shape} where {expected.shape} was expected"
    found, expected = (numpy.asarray(array, numpy.float64) for array in (found, expected))
    size = max(1.0, float(numpy.sqrt(numpy.mean(expected**2))))
    return float(numpy.abs(found - expected).max()) / size


def assert_close(found, expected, tolerance, what):
    off = difference(found, expected)
    assert off <= tolerance, f"{what}: {off:.3g} apart where {tolerance:g} is allowed"  # a NaN fails, too
