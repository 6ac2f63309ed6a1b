#!/usr/bin/env python3
"""Turns Parquet files with images, as Hugging Face's data sets store them, into tar shards that Lacuna reads.

    python3 -m venv .venv-arrow && .venv-arrow/bin/pip install pyarrow
    .venv-arrow/bin/python scripts/parquet_to_tar.py OUT FILE.parquet …

An image column holds structs with the field `bytes`; its bytes go into the shards as they are. A column of whole
numbers called label (or cls, class) becomes KEY.cls, one of text called caption (or text) KEY.txt. Which columns were
taken is printed. Rows without image bytes are counted and left out.
"""
import argparse
import io
import pathlib
import sys
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq

ENDINGS = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif", b"II*\0": "tif", b"MM\0*": "tif"}


def columns_of(schema):
    """Names of the image, label and caption columns; the last two may be None."""
    def named(names, fits):
        return next((f.name for f in schema if f.name in names and fits(f.type)), None)

    image = next((f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0), None)
    label = named(("label", "labels", "cls", "class"), pa.types.is_integer)
    caption = named(("caption", "text", "txt"), lambda t: pa.types.is_string(t) or pa.types.is_large_string(t))
    return image, label, caption


class Shards:
    """Members go into OUT/shard-000000.tar …; a shard appears under its name when it is complete."""

    def __init__(self, out, megabytes):
        self.out, self.limit = out, megabytes << 20
        self.count, self.tar, self.part, self.size = 0, None, None, 0

    def add(self, name, content):
        if self.tar is None:
            self.part = self.out / f".shard-{self.count:06d}.tar.part"
            self.tar, self.size = tarfile.open(self.part, "w"), 0
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self.tar.addfile(member, io.BytesIO(content))
        self.size += len(content) + 1024

    def end_sample(self):
        if self.size >= self.limit:
            self.close()

    def close(self):
        if self.tar is None:
            return
        self.tar.close()
        self.part.rename(self.out / f"shard-{self.count:06d}.tar")
        self.count, self.tar = self.count + 1, None


def convert(files, shards):
    stored = left_out = 0
    for path in files:
        parquet = pq.ParquetFile(path)
        image, label, caption = columns_of(parquet.schema_arrow)
        if image is None:
            sys.exit(f"{path}: no column with images (structs with the field `bytes`) among "
                     f"{', '.join(parquet.schema_arrow.names)}")
        print(f"{path}: images from {image}, labels from {label}, captions from {caption}")
        wanted = [name for name in (image, label, caption) if name]
        for batch in parquet.iter_batches(batch_size=256, columns=wanted):
            for row in batch.to_pylist():
                content = (row[image] or {}).get("bytes")
                if not content:
                    left_out += 1
                    continue
                key = f"{stored:09d}"
                ending = next((e for magic, e in ENDINGS.items() if content.startswith(magic)), "jpg")
                shards.add(f"{key}.{ending}", content)
                if label and row[label] is not None and row[label] >= 0:
                    shards.add(f"{key}.cls", str(row[label]).encode())
                if caption and row[caption]:
                    shards.add(f"{key}.txt", row[caption].encode())
                shards.end_sample()
                stored += 1
    shards.close()
    print(f"{stored} images in {shards.count} shards; {left_out} rows without image bytes left out")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--shard-megabytes", type=int, default=256)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if any(arguments.out.iterdir()):
        sys.exit(f"{arguments.out}: expected a new or empty folder")
    convert(arguments.files, Shards(arguments.out, arguments.shard_megabytes))


if __name__ == "__main__":
    main()
