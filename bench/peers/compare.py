#!/usr/bin/env python3
"""Lacuna's data path beside others', on the same images, in turns, in one run.

    make bench-peers
    bench/peers/compare.py --images DIR [--out FILE]

Each program stays alive and is asked for one short round after another, all of them in turn, so that whatever else the
machine does meets all alike; printed are medians over rounds with quartiles, and the median of the ratios within a
round. One core is CPU time, all cores is the clock. Peers whose environment is not there are listed as not run. Needs
python3 and nothing else.
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

HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENTS = {"pillow-simd": "simd", "dali": "dali"}  # others: main
SETTLE_SECONDS = 1.0  # after a round on all cores the program fills its queue again, beside whoever is next
ALL_CORES_LONGER = 20  # rounds; short ones measure how a queue that was just emptied fills

CONVERT = """
import pathlib, sys
from PIL import Image
source, target, kind = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
for path in sorted(source.iterdir())[::4]:
    Image.open(path).convert("RGB").save(target / f"{path.stem}.{kind}", **({"quality": 90} if kind == "webp" else {}))
"""


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", required=True, help="folder of JPEG files")
    p.add_argument("--lacuna", default="build/bench/bin/bench_pixels")
    p.add_argument("--environments", default="build/peers", help="what make bench-peers made")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--round-images", type=int, default=96)
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="of the comparison over all cores")
    p.add_argument("--only", nargs="*", help="of: one, all, views, formats, latency")
    p.add_argument("--out", help="append the tables to this file, too")
    return p.parse_args()


class Program:
    """One contestant; answers "-" for what it cannot do."""

    def __init__(self, args, name, images):
        self.name, environment = name, dict(os.environ)
        if name == "lacuna":
            environment["LACUNA_BENCH_IMAGES"] = str(images)
            command = [args.lacuna, "--serve"]
        else:
            python = pathlib.Path(args.environments) / ENVIRONMENTS.get(name, "main") / "bin/python"
            if not python.exists():
                raise FileNotFoundError(f"no {python}")
            command = [str(python), str(HERE / "worker.py"), name, str(images)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                                        stderr=subprocess.DEVNULL, text=True)

    def seconds(self, task, threads, images):
        try:
            print(task, threads, images, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            return "ended"
        answer = self.process.stdout.readline().strip()
        try:
            return float(answer)
        except ValueError:
            return answer.removeprefix("- ") or "ended"

    def end(self):
        try:
            self.process.stdin.close()
            self.process.wait(30)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()


class Report:
    def __init__(self, path):
        self.file = open(path, "a") if path else None

    def line(self, text=""):
        print(text, flush=True)
        if self.file:
            print(text, file=self.file, flush=True)


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    cut = statistics.quantiles(values, n=4)
    return cut[0], cut[2]


def race(report, args, title, names, images, task, threads, per_round, rounds=None):
    """One table: img/s of every contestant, and Lacuna's multiple of it."""
    report.line(f"\n**{title}** (load {os.getloadavg()[0]:.1f})\n")
    report.line("| | img/s | quartiles | Lacuna is | from round to round |\n|---|---|---|---|---|")
    programs, missing = [], []
    for name in names:
        try:
            programs.append(Program(args, name, images))
        except FileNotFoundError as fault:
            missing.append((name, str(fault)))
    rates = {program.name: [] for program in programs}
    for turn in range((rounds or args.rounds) + 1):
        for program in list(programs):
            if threads:
                time.sleep(SETTLE_SECONDS)
            seconds = program.seconds(task, threads, per_round)
            if isinstance(seconds, str):
                programs.remove(program)
                missing.append((program.name, seconds))
                program.end()
            elif turn > 0:  # the first round warms up
                rates[program.name].append(per_round / seconds)
    for program in programs:
        program.end()
    for program in programs:
        own = rates[program.name]
        low, high = quartiles(own)
        ratios = [a / b for a, b in zip(rates["lacuna"], own)]
        ratio = "" if program.name == "lacuna" else f"{statistics.median(ratios):.2f} x"
        spread = "" if program.name == "lacuna" else f"{min(ratios):.2f} to {max(ratios):.2f}"
        report.line(f"| {program.name} | {statistics.median(own):.0f} | {low:.0f} to {high:.0f} | {ratio} | {spread} |")
    for name, reason in missing:
        report.line(f"| {name} | not run: {reason} | | | |")


def latency(report, args, images):
    report.line(f"\n**From the start of the program to the first batch of 32, {args.threads} threads or workers** "
                f"(load {os.getloadavg()[0]:.1f})\n\n| | seconds | quartiles |\n|---|---|---|")
    taken = {"lacuna": [], "torchvision-v1": []}
    for _ in range(5):
        for name, values in taken.items():
            begin = time.perf_counter()
            program = Program(args, name, images)
            program.seconds("rrc", args.threads, 0)
            values.append(time.perf_counter() - begin)
            program.end()
    for name, values in taken.items():
        low, high = quartiles(values)
        report.line(f"| {name} | {statistics.median(values):.3f} | {low:.3f} to {high:.3f} |")


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def formats(report, args):
    for kind in ("png", "webp"):
        with tempfile.TemporaryDirectory() as folder:
            python = pathlib.Path(args.environments) / "main/bin/python"
            subprocess.run([str(python), "-c", CONVERT, args.images, folder, kind], check=True)
            race(report, args, f"{kind.upper()} instead of JPEG, one core", ["lacuna", "torchvision-v1", "opencv"],
                 folder, "rrc", 0, 48)


def main():
    args = arguments()
    wanted = args.only or ["one", "all", "views", "formats", "latency"]
    report = Report(args.out)
    report.line(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start, "
                f"{args.rounds} rounds of {args.round_images} images")
    one = ["lacuna", "torchvision-v1", "torchvision-v2", "opencv", "simplejpeg", "pillow-simd", "dali"]
    if "one" in wanted:
        race(report, args, "JPEG, random resized crop 224 bicubic, flip, one core", one, args.images, "rrc", 0,
             args.round_images)
    if "all" in wanted:
        race(report, args, f"The same, {args.threads} threads or workers",
             ["lacuna", "torchvision-v1", "torchvision-v2", "opencv", "simplejpeg", "dali"], args.images, "rrc",
             args.threads, ALL_CORES_LONGER * args.round_images, max(3, args.rounds // 3))
    if "views" in wanted:
        for task in ("cae", "cae_v2"):
            race(report, args, f"Two views of {task}, one core", ["lacuna", "torchvision-v1"], args.images, task, 0,
                 args.round_images)
    if "formats" in wanted:
        formats(report, args)
    if "latency" in wanted:
        latency(report, args, args.images)
    return 0


if __name__ == "__main__":
    sys.exit(main())
