"""Lets torchvision be imported beside a torch without CUDA.

The usual torchvision wheel links its compiled operators against CUDA. Where they do not load, `import torchvision` ends
because it attaches derivatives and shapes to operators that nobody has declared; timm and OpenCLIP import it for its
transforms, which are Python. Declaring the names is enough. Calling such an operator still fails, as it should.
"""

import importlib.util
import pathlib

import torch

OPERATORS = ["nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"]


def operators_load(folder):
    for library in pathlib.Path(folder).glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
            return True
        except OSError:
            continue
    return False


_found = importlib.util.find_spec("torchvision")
if _found and not operators_load(_found.submodule_search_locations[0]):
    _declared = torch.library.Library("torchvision", "DEF")  # as long as the module lives
    for _name in OPERATORS:
        _declared.define(f"{_name}(Tensor unused) -> Tensor")
        if _name.endswith(("align", "pool", "conv2d")):
            _declared.define(f"_{_name}_backward(Tensor unused) -> Tensor")
