#!/usr/bin/env python3
"""One peer's data path as a program: reads lines "TASK THREADS IMAGES", writes the seconds that the images took.

    worker.py PEER FOLDER

THREADS = 0 is one core, measured as CPU time of this process; more are worker processes, measured by the clock. Tasks:
rrc (JPEG -> random resized crop 224 bicubic -> flip -> uint8 batch), cae (two views of one crop, 224 bicubic and 112
Lanczos), cae_v2 (jitter, then two views of 224). A task that the peer does not have is answered with "-". The folder
may hold PNG or WebP as well, for peers that read them.
"""
import math
import os
import random
import sys
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

BATCH = 32
PREFETCH = 3
SCALES = {"rrc": (0.08, 1.0), "cae": (0.08, 1.0), "cae_v2": (0.4, 1.0)}


def draw_box(width, height, scale):
    """RandomResizedCrop's rule, for peers that bring none."""
    for _ in range(10):
        area = width * height * random.uniform(*scale)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def pillow_views(path, task):
    """Pillow by hand: what torchvision's v1 transforms do, for environments without torch."""
    import numpy
    from PIL import Image

    image = Image.open(path).convert("RGB")
    left, top, w, h = draw_box(*image.size, SCALES[task])
    part = image.crop((left, top, left + w, top + h)).resize((224, 224), Image.BICUBIC)
    if random.random() < 0.5:
        part = part.transpose(Image.FLIP_LEFT_RIGHT)
    return (numpy.asarray(part),)


class TorchvisionV1:
    """Pillow's images and torchvision's first transforms: the reference."""

    def __init__(self, task):
        import torchvision.transforms as T
        import torchvision.transforms.functional as F

        self.F, self.task = F, task
        self.scale = SCALES[task]
        self.crop = T.RandomResizedCrop
        self.jitter = T.ColorJitter(0.4, 0.4, 0.4) if task == "cae_v2" else None
        self.bicubic, self.lanczos = T.InterpolationMode.BICUBIC, T.InterpolationMode.LANCZOS

    def __call__(self, path):
        import numpy
        from PIL import Image

        with open(path, "rb") as file:
            image = Image.open(file).convert("RGB")
        if self.jitter:
            image = self.jitter(image)
        if random.random() < 0.5:
            image = self.F.hflip(image)
        box = self.crop.get_params(image, self.scale, (3 / 4, 4 / 3))
        views = [self.F.resized_crop(image, *box, (224, 224), self.bicubic)]
        if self.task == "cae":
            views.append(self.F.resized_crop(image, *box, (112, 112), self.lanczos))
        if self.task == "cae_v2":
            views.append(self.F.resized_crop(image, *box, (224, 224), self.bicubic))
        return tuple(numpy.asarray(view) for view in views)


class TorchvisionV2:
    """Tensors and torchvision's second transforms. Decoding by torchvision.io where its library loads, else by Pillow."""

    def __init__(self, task):
        if task != "rrc":
            raise KeyError(task)
        import torch
        import torchvision
        from torchvision.transforms import v2

        self.transform = v2.Compose([v2.RandomResizedCrop(224, (0.08, 1.0), interpolation=v2.InterpolationMode.BICUBIC,
                                                          antialias=True), v2.RandomHorizontalFlip()])
        try:
            sample = torch.zeros(3, 16, 16, dtype=torch.uint8)
            torchvision.io.decode_jpeg(torchvision.io.encode_jpeg(sample))
            self.read = lambda path: torchvision.io.decode_jpeg(torchvision.io.read_file(path),
                                                                torchvision.io.ImageReadMode.RGB)
        except (RuntimeError, AttributeError):
            from PIL import Image

            self.read = lambda path: v2.functional.pil_to_tensor(Image.open(path).convert("RGB"))

    def __call__(self, path):
        return (self.transform(self.read(path)).permute(1, 2, 0).numpy(),)


class OpenCv:
    """Cubic without antialiasing: not the reference's pixels, but what people use for speed."""

    def __init__(self, task):
        if task != "rrc":
            raise KeyError(task)
        import cv2

        cv2.setNumThreads(0)
        self.cv2 = cv2

    def __call__(self, path):
        cv2 = self.cv2
        image = cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        left, top, w, h = draw_box(image.shape[1], image.shape[0], SCALES["rrc"])
        part = cv2.resize(image[top : top + h, left : left + w], (224, 224), interpolation=cv2.INTER_CUBIC)
        if random.random() < 0.5:
            part = cv2.flip(part, 1)
        return (cv2.cvtColor(part, cv2.COLOR_BGR2RGB),)


class SimpleJpeg:
    """libjpeg-turbo by simplejpeg, then PyTorch's antialiased resize of bytes: within one level of Pillow."""

    def __init__(self, task):
        if task != "rrc":
            raise KeyError(task)
        import simplejpeg
        import torch

        self.jpeg, self.torch = simplejpeg, torch

    def __call__(self, path):
        torch = self.torch
        with open(path, "rb") as file:
            image = torch.from_numpy(self.jpeg.decode_jpeg(file.read(), colorspace="RGB"))
        left, top, w, h = draw_box(image.shape[1], image.shape[0], SCALES["rrc"])
        part = image[top : top + h, left : left + w].permute(2, 0, 1)[None]
        part = torch.nn.functional.interpolate(part, (224, 224), mode="bicubic", antialias=True, align_corners=False)
        if random.random() < 0.5:
            part = part.flip(3)
        return (part[0].permute(1, 2, 0).numpy(),)


class PillowByHand:
    def __init__(self, task):
        if task != "rrc":
            raise KeyError(task)
        self.task = task

    def __call__(self, path):
        return pillow_views(path, self.task)


class Dali:
    """A pipeline of its own; THREADS = 0 runs it on one thread."""

    def __init__(self, task, threads, files):
        if task != "rrc":
            raise KeyError(task)
        from nvidia.dali import fn, pipeline_def, types

        @pipeline_def(batch_size=BATCH, num_threads=max(threads, 1), device_id=None, prefetch_queue_depth=PREFETCH)
        def pipeline():
            encoded, _ = fn.readers.file(files=files, random_shuffle=False)
            images = fn.decoders.image_random_crop(encoded, device="cpu", output_type=types.RGB, random_area=[0.08, 1.0],
                                                   random_aspect_ratio=[3 / 4, 4 / 3])
            images = fn.resize(images, resize_x=224, resize_y=224, interp_type=types.INTERP_CUBIC, antialias=True)
            return fn.flip(images, horizontal=fn.random.coin_flip())

        self.pipeline = pipeline()
        self.pipeline.build()

    def run(self, images, clock):
        for _ in range(PREFETCH + 1):
            self.pipeline.run()
        begin = clock()
        for _ in range(images // BATCH):
            self.pipeline.run()
        return clock() - begin


PEERS = {"torchvision-v1": TorchvisionV1, "torchvision-v2": TorchvisionV2, "opencv": OpenCv, "simplejpeg": SimpleJpeg,
         "pillow": PillowByHand, "pillow-simd": PillowByHand}


class OneCore:
    def __init__(self, make, files):
        self.make, self.files, self.next = make, files, 0

    def run(self, images):
        import numpy

        begin = time.process_time()
        batch = None
        for i in range(images):
            views = self.make(self.files[self.next % len(self.files)])
            if batch is None:
                batch = [numpy.empty((BATCH, *view.shape), numpy.uint8) for view in views]
            for place, view in zip(batch, views):
                place[i % BATCH] = view
            self.next += 1
        return time.process_time() - begin


class Files:
    """A map-style data set without end, so that one DataLoader serves all rounds."""

    def __init__(self, make, files):
        self.make, self.files = make, files

    def __len__(self):
        return 1 << 40

    def __getitem__(self, index):
        return self.make(self.files[index % len(self.files)])


class WorkerProcesses:
    """PyTorch's DataLoader; its full queue is emptied before the clock starts."""

    def __init__(self, make, files, threads):
        import torch

        torch.set_num_threads(1)
        sampler = torch.utils.data.BatchSampler(iter(range(1 << 40)), BATCH, True)
        loader = torch.utils.data.DataLoader(Files(make, files), batch_sampler=sampler, num_workers=threads)
        self.queued = 2 * threads
        self.batches = iter(loader)

    def run(self, images):
        if images == 0:  # the first batch
            next(self.batches)
            return 0.0
        for _ in range(self.queued):
            next(self.batches)
        begin = time.perf_counter()
        for _ in range(images // BATCH):
            next(self.batches)
        return time.perf_counter() - begin


def prepare_torchvision():
    """A wheel built for CUDA cannot load its operators beside a CPU torch and then refuses to be imported; none of them
    is used here, so declaring those that it registers shapes for is enough."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms", "roi_align", "_roi_align_backward", "roi_pool", "_roi_pool_backward",
                     "ps_roi_align", "_ps_roi_align_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d",
                     "_deform_conv2d_backward"):
            library.define(name + "(Tensor x) -> Tensor")
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        prepare_torchvision.keep = library


def main():
    peer, folder = sys.argv[1:]
    files = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    random.seed(1)
    if peer not in ("dali", "pillow-simd"):
        import torch

        torch.set_num_threads(1)
        prepare_torchvision()
    runs = {}
    for line in sys.stdin:
        task, threads, images = line.split()
        threads, images = int(threads), int(images)
        key = task, threads
        try:
            if peer == "dali":
                runs[key] = runs.get(key) or Dali(task, threads, files)
                seconds = runs[key].run(images, time.perf_counter if threads else time.process_time)
            else:
                if key not in runs:
                    make = PEERS[peer](task)
                    runs[key] = WorkerProcesses(make, files, threads) if threads else OneCore(make, files)
                seconds = runs[key].run(images)
        except (KeyError, ImportError) as fault:
            print("-", repr(fault), flush=True)
            continue
        print(seconds, flush=True)


if __name__ == "__main__":
    main()
