#!/usr/bin/env python3
"""Loading a ViT-L-sized file of weights: Lacuna beside safetensors and torch, in turns, cold and warm.

    bench/load.py --program build/bench/bin/load_weights --folder FOLDER [--rounds 5]

Needs a Python with torch and safetensors. Makes 1.2 GB of float32 in FOLDER as safetensors and as a torch checkpoint,
and deletes them. Every measurement is a process of its own: it opens the file and copies every tensor into memory of
its own; the start of the interpreter and its imports are not counted. Cold means that the file's pages were dropped
from the page cache (posix_fadvise), where the system does so. Peak is VmHWM less what the process had before it opened
the file; it counts the file's mapped pages, which the system can take back, "own" does not.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

DEPTH, WIDTH = 24, 1024


def make_files(folder):
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    shapes = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, 197, WIDTH), "patch_embed.proj.weight": (WIDTH, 3, 16, 16),
              "patch_embed.proj.bias": (WIDTH,), "norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    for i in range(DEPTH):
        for name, shape in {"norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "attn.qkv.weight": (3 * WIDTH, WIDTH),
                            "attn.qkv.bias": (3 * WIDTH,), "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
                            "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,), "mlp.fc1.weight": (4 * WIDTH, WIDTH),
                            "mlp.fc1.bias": (4 * WIDTH,), "mlp.fc2.weight": (WIDTH, 4 * WIDTH),
                            "mlp.fc2.bias": (WIDTH,)}.items():
            shapes[f"blocks.{i}.{name}"] = shape
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    save_file(tensors, folder / "vit_l.safetensors")
    torch.save({"model": tensors}, folder / "vit_l.pth")


def status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def child(side, path):
    import torch
    from safetensors.torch import load_file

    before = status("VmHWM"), status("RssAnon")
    start = time.perf_counter()
    if side == "load_file":
        tensors = load_file(path)
    else:
        tensors = torch.load(path, mmap=side == "torch_mmap")["model"]
    opened = time.perf_counter()
    # torch.load without mmap has read everything into memory of its own already.
    kept = tensors if side == "torch_load" else {name: tensor.clone() for name, tensor in tensors.items()}
    end = time.perf_counter()
    size = sum(tensor.nbytes for tensor in kept.values())
    print(json.dumps({"open": opened - start, "total": end - start, "bytes": size,
                      "peak_kb": status("VmHWM") - before[0], "anon_kb": status("RssAnon") - before[1]}))


SIDES = [("Lacuna, safetensors", "vit_l.safetensors", None), ("safetensors.torch.load_file", "vit_l.safetensors", "load_file"),
         ("Lacuna, torch zip", "vit_l.pth", None), ("torch.load", "vit_l.pth", "torch_load"),
         ("torch.load(mmap=True)", "vit_l.pth", "torch_mmap")]


def set_cache(path, warm):
    descriptor = os.open(path, os.O_RDONLY)
    if warm:
        while os.read(descriptor, 16 << 20):
            pass
    else:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def measure(program, path, side):
    command = [program, path] if side is None else [sys.executable, __file__, "--child", side, path]
    return json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout)


def raw_read(path):
    """The same bytes by read() into one buffer: what disk and page cache give."""
    buffer = bytearray(16 << 20)
    with open(path, "rb", buffering=0) as file:
        start = time.perf_counter()
        while file.readinto(buffer):
            pass
        return time.perf_counter() - start


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default="build/bench/bin/load_weights")
    p.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("."))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.child:
        return child(*a.child)
    files = [a.folder / "vit_l.safetensors", a.folder / "vit_l.pth"]
    try:
        make_files(a.folder)
        size = files[0].stat().st_size
        print(f"{size / 1e9:.2f} GB, {a.rounds} rounds, {os.cpu_count()} cores, {platform.platform()}, "
              f"load {os.getloadavg()[0]:.1f}")
        for warm in (False, True):
            results = {name: [] for name, _, _ in SIDES}
            reads = []
            for _ in range(a.rounds):
                for name, file, side in SIDES:  # in turns, so that noise of the machine meets all alike
                    set_cache(a.folder / file, warm)
                    results[name].append(measure(a.program, a.folder / file, side))
                set_cache(files[0], warm)
                reads.append(raw_read(files[0]))
            print(f"\n{'warm' if warm else 'cold'}: read() alone {statistics.median(reads):.2f} s "
                  f"({min(reads):.2f} to {max(reads):.2f})\n")
            print("| | seconds, median (range) | GB/s | times Lacuna | open alone | peak | own |\n|---|---|---|---|---|---|---|")
            for name, file, _ in SIDES:
                ours = results["Lacuna, safetensors" if file.endswith("safetensors") else "Lacuna, torch zip"]
                total = [r["total"] for r in results[name]]
                ratios = sorted(r["total"] / o["total"] for r, o in zip(results[name], ours))
                last = results[name][-1]
                print(f"| {name} | {statistics.median(total):.2f} ({min(total):.2f} to {max(total):.2f}) "
                      f"| {size / 1e9 / statistics.median(total):.2f} "
                      f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
                      f"| {statistics.median(r['open'] for r in results[name]):.3f} "
                      f"| {last['peak_kb'] / 1e6:.2f} GB | {last['anon_kb'] / 1e6:.2f} GB |")
    finally:
        for file in files:
            file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
