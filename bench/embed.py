#!/usr/bin/env python3
"""Features of a folder of images by a ViT-B/16: `lacuna embed` beside timm with a DataLoader, in turns.

    bench/embed.py --lacuna build/release/bin/lacuna --images FOLDER [--rounds 3] [--threads 4]

Needs a Python with timm, torch and Pillow (.venv-clients of `make test-clients` is one). Both open the same folder of
random weights and compute the class token's features in float32. A measurement is a whole process less its start: the
same command on a single image is timed beside it and taken off, so imports and the opening of weights are not counted.
"""
import argparse
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

CLIENTS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "clients"


def make_model(folder):
    import torch
    import torchvision_on_cpu  # noqa: F401  before timm
    import timm
    from timm.models import save_for_hf

    torch.manual_seed(0)
    save_for_hf(timm.create_model("vit_base_patch16_224.augreg_in21k", num_classes=0), folder)


def peer(model, images, out, batch, threads):
    """What a user of timm writes."""
    import numpy
    import torch
    import torchvision_on_cpu  # noqa: F401  before timm
    import timm
    from timm.data import ImageDataset, create_transform, resolve_data_config

    torch.set_num_threads(threads)
    network = timm.create_model(f"local-dir:{model}", pretrained=True).eval()
    transform = create_transform(**resolve_data_config(model=network))
    loader = torch.utils.data.DataLoader(ImageDataset(images, transform=transform), batch_size=batch, num_workers=threads)
    with torch.inference_mode():
        rows = [network.forward_features(pixels)[:, 0].numpy() for pixels, _ in loader]
    numpy.savez(out, **{"class": numpy.concatenate(rows)})


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lacuna", default="build/release/bin/lacuna")
    p.add_argument("--images", required=True, type=pathlib.Path)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    a = p.parse_args()
    sys.path.insert(0, str(CLIENTS))
    if a.peer:
        return peer(*a.peer, a.batch, a.threads)

    import numpy

    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        make_model(work / "model")
        files = sorted(f for f in a.images.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
        (work / "one").mkdir()
        (work / "one" / files[0].name).symlink_to(files[0].resolve())
        common = ["--threads", str(a.threads), "--batch", str(a.batch)]

        def lacuna(images, out):
            out.unlink(missing_ok=True)
            return [a.lacuna, "embed", str(work / "model"), str(images), "--out", str(out), "--features", "class", *common]

        def timm(images, out):
            return [sys.executable, __file__, "--images", str(images), "--threads", str(a.threads), "--batch", str(a.batch),
                    "--peer", str(work / "model"), str(images), str(out)]

        rates = {"Lacuna": [], "timm": []}
        for _ in range(a.rounds):
            for name, command in (("Lacuna", lacuna), ("timm", timm)):
                start = seconds(command(work / "one", work / f"{name}-one.npz"))
                whole = seconds(command(a.images, work / f"{name}.npz"))
                rates[name].append((len(files) - 1) / (whole - start))
        ours, theirs = (numpy.load(work / f"{name}.npz")["class"] for name in rates)
        apart = abs(ours - theirs).max() / abs(theirs).max()
        print(f"{len(files)} images, batch {a.batch}, {a.threads} threads, {os.cpu_count()} cores, {platform.platform()}, "
              f"load {os.getloadavg()[0]:.1f}; features are {apart:.1e} apart (largest, relative)\n")
        print("| | images a second, median (range) |\n|---|---|")
        for name, values in rates.items():
            print(f"| {name} | {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) |")
        ratios = sorted(x / y for x, y in zip(rates["Lacuna"], rates["timm"]))
        print(f"| ratio | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |")


if __name__ == "__main__":
    main()
