#!/usr/bin/env python3
"""Runs every row of the table for a short while on the same images and prints one table of what happened.

    bench/rows.py --lacuna build/release/bin/lacuna --data LABELLED_DIR --teacher CLIP_DIR --out OUT

Each row gets the same number of optimizer steps of the same batch; a row that a teacher's file is missing for is listed
as not run. kNN is measured on the labelled images, by the mean of the patch tokens, before (the same network with its
random weights) and after. Needs python3 and nothing else.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import time


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lacuna", default="build/release/bin/lacuna")
    p.add_argument("--data", required=True, help="labelled images: train/ and val/ with one folder per class")
    p.add_argument("--teacher", help="folder of a CLIP")
    p.add_argument("--dvae", help="safetensors of a dVAE encoder")
    p.add_argument("--vqkd", help="folder of a VQ-KD tokenizer; its grid decides the student's")
    p.add_argument("--out", required=True)
    p.add_argument("--rows", nargs="*", help="only these")
    p.add_argument("--model", default="micro")
    p.add_argument("--side", type=int, default=112, help="student's input; the teacher's unless it says otherwise")
    p.add_argument("--steps", type=int, default=400)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--threads", type=int, default=4)
    p.add_argument("--set", nargs="*", default=[], help="further key=value for every row")
    return p.parse_args()


def run(command, log):
    started = time.time()
    with open(log, "w") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode
    text = pathlib.Path(log).read_text(errors="replace")
    return code, text, time.time() - started


def knn(args, model, random, log):
    command = [args.lacuna, "eval", "knn", model, f"data={args.data}", "features.pool=mean", f"threads={args.threads}",
               f"json={log}.json", *(["random=true"] if random else [])]
    code, text, _ = run(command, log)
    if code:
        return None, text.strip().splitlines()[-1]
    report = json.loads(pathlib.Path(f"{log}.json").read_text())
    return find_top1(report), ""


def find_top1(report):
    """The first number called top1, top-1 or accuracy in the report."""
    stack = [report]
    while stack:
        item = stack.pop(0)
        if isinstance(item, dict):
            for key, value in item.items():
                if isinstance(value, (int, float)) and re.fullmatch(r"(knn_)?(top_?1|accuracy)", key):
                    return value
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return None


def losses(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    values = [r["loss"] for r in records if "loss" in r]
    return values[0], values[-1]


def settings(args, row, folder):
    keys = [f"method={row}", f"model={args.model}", f"data={args.data}", f"out={folder}",
            f"duration={args.steps} steps", f"batch_size={args.batch}", f"threads={args.threads}",
            'data.class_captions=["a photo of a {}."]', "eval.every=0", "log.pictures=0", "log.every=10 steps",
            f"checkpoint.every={args.steps} steps", *args.set]
    teacher = {"cae": args.dvae, "beit": args.dvae, "beit2": args.vqkd}.get(row, args.teacher)
    if teacher:
        keys.append(f"teacher={teacher}")
    if row == "beit2":
        keys.append("mask.min_block=2")  # for the small grid of a small tokenizer
    else:
        even = args.side + 16 * (args.side // 16 % 2)  # squares of 2 x 2 patches must tile the grid
        side = even if row in ("simmim", "conmim") else args.side
        keys += [f"student.image_side={side}", "student.patch_side=16"]
    return keys


def one_row(args, row):
    folder = pathlib.Path(args.out) / row
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = str(pathlib.Path(args.out) / f"{row}.log")
    code, text, _ = run([args.lacuna, "pretrain", *settings(args, row, folder)], log)
    if code:
        return [row, "-", "-", "-", "-", "-", text.strip().splitlines()[-1].replace("|", "/")]
    rate = re.findall(r"([\d.]+) img/s", text)[-1]
    first, last = losses(folder)
    before, why = knn(args, str(folder), True, log + ".before")
    after, why = knn(args, str(folder), False, log + ".after")
    number = lambda x: "-" if x is None else f"{x:.1f}"
    return [row, rate, f"{first:.4f}", f"{last:.4f}", number(before), number(after), why]


def main():
    args = arguments()
    listed = subprocess.run([args.lacuna, "methods"], capture_output=True, text=True, check=True).stdout
    rows = args.rows or re.findall(r"^([a-z0-9_]+): ", listed, re.MULTILINE)
    print("| row | img/s | loss first | loss last | 20-NN before | 20-NN after | remark |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(one_row(args, row)) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
