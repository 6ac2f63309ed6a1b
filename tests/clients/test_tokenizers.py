"""DALL-E's dVAE and BEiT v2's VQ-KD: no client runs them, so small modules of the published equations do. `lacuna trace`
shows a step of BEiT's training: the pixels that the tokenizer got and the visual tokens of the hidden patches."""

import timm
import torch
from safetensors.torch import load_file

import models_official
import support

STEP = [
    *support.SMALL_RUN,
    "mask.min_block=2",
    "trace.steps=1",
    "trace.gradients=false",
    "trace.weights=false",
]


class Convolution(torch.nn.Module):
    def __init__(self, inputs, outputs, side):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(outputs, inputs, side, side))
        self.b = torch.nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.w, self.b, padding=self.w.shape[-1] // 2)


class Block(torch.nn.Module):
    """id(x) + res(x) / 64"""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.id_path = Convolution(inputs, outputs, 1) if inputs != outputs else torch.nn.Identity()
        hidden = outputs // 4
        widths = [(inputs, hidden, 3), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, outputs, 1)]
        self.res_path = torch.nn.ModuleDict({f"conv_{i + 1}": Convolution(*width) for i, width in enumerate(widths)})

    def forward(self, x):
        y = x
        for convolution in self.res_path.values():
            y = convolution(y.relu())
        return self.id_path(x) + y / 64


class Dvae(torch.nn.Module):
    """Pixels in [0, 1] -> logits [B,vocabulary,S/8,S/8]."""

    def __init__(self, hidden=16, vocabulary=64):
        super().__init__()
        groups = {}
        for group, (inputs, outputs) in enumerate([(1, 1), (1, 2), (2, 4), (4, 8)]):
            groups[f"group_{group + 1}"] = torch.nn.ModuleDict(
                {
                    "block_1": Block(inputs * hidden, outputs * hidden),
                    "block_2": Block(outputs * hidden, outputs * hidden),
                }
            )
        output = torch.nn.ModuleDict({"conv": Convolution(8 * hidden, vocabulary, 1)})
        self.blocks = torch.nn.ModuleDict({"input": Convolution(3, hidden, 7), **groups, "output": output})

    def forward(self, pixels):
        x = self.blocks["input"](0.8 * pixels + 0.1)
        for group in range(1, 5):
            for block in self.blocks[f"group_{group}"].values():
                x = block(x)
            if group < 4:
                x = torch.nn.functional.max_pool2d(x, 2)
        return self.blocks["output"]["conv"](x.relu())


class Vqkd(torch.nn.Module):
    """Pixels in [-1, 1] -> cosines [B,codes,G,G]."""

    def __init__(self, codes=64, width=8):
        super().__init__()
        self.encoder = timm.create_model(
            "beit_base_patch16_224", init_values=None, **{**models_official.MICRO, **models_official.ABSOLUTE}
        )
        wide = models_official.WIDTH
        self.encode_task_layer = torch.nn.Sequential(
            torch.nn.Linear(wide, wide), torch.nn.Tanh(), torch.nn.Linear(wide, width)
        )
        self.quantize = torch.nn.ModuleDict({"embedding": torch.nn.Embedding(codes, width)})

    def forward(self, pixels):
        features = self.encode_task_layer(self.encoder.forward_features(pixels)[:, 1:])
        cosines = torch.nn.functional.normalize(features, dim=-1) @ self.quantize["embedding"].weight.T
        return cosines.transpose(1, 2).unflatten(2, (4, 4))


def built(kind):
    network = support.randomise(kind())
    if kind is Vqkd:
        codes = network.quantize["embedding"].weight
        codes.copy_(torch.nn.functional.normalize(codes, dim=-1))
    return network


def official_vqkd(network):
    """With the decoder of its training and the statistics of the codebook."""
    state = network.state_dict()
    codes = state["quantize.embedding.weight"]
    state |= {
        "quantize.cluster_size": torch.ones(len(codes)),
        "quantize.embedding.cluster_size": torch.ones(len(codes)),
        "quantize.embedding.embed_avg": codes.clone(),
        "quantize.embedding.initted": torch.ones(1),
    }
    wide = models_official.WIDTH
    state |= models_official.filled(
        {
            "decoder.cls_token": (1, 1, wide),
            "decoder.pos_embed": (1, 17, wide),
            "decoder.patch_embed.proj.weight": (wide, 8, 1, 1),
            "decoder.patch_embed.proj.bias": (wide,),
            **models_official.block("decoder.blocks.0", gamma=False),
            **models_official.norm("decoder.norm"),
            **models_official.linear("decode_task_layer.0", wide, wide),
            **models_official.linear("decode_task_layer.2", wide, 40),
        }
    )
    return {"model": state}


def check_tokens(network, method, file, folder):
    """Tokens of the hidden patches, wherever the second best is not as good."""
    out = folder / "trace.safetensors"
    support.lacuna("trace", f"method={method}", *STEP, f"teacher={file}", f"out={out}")
    step = load_file(out)
    logits = network.double()(step["step0.view1"].double()).flatten(2)  # [B,K,N]
    network.float()
    best = logits.topk(2, dim=1)
    hidden = step["step0.crop0.hidden"]
    ids = best.indices[:, 0].flatten()[hidden]
    sure = (best.values[:, 0] - best.values[:, 1]).flatten()[hidden] > 1e-4
    found = step["step0.objective.tokens.target"].flatten()
    assert len(found) == len(ids) > 40 and sure.float().mean() > 0.9 and len(set(ids.tolist())) > 3
    assert (found == ids)[sure].all()


def test_dvae_as_a_state_dict(tmp_path):
    network = built(Dvae)
    torch.save(network.state_dict(), tmp_path / "dalle_encoder.pth")
    check_tokens(network, "beit", tmp_path / "dalle_encoder.pth", tmp_path)


def test_dvae_as_a_whole_pickled_module(tmp_path):
    """As OpenAI published it; its classes are never looked for."""
    network = built(Dvae)
    torch.save(network, tmp_path / "encoder.pkl")
    check_tokens(network, "beit", tmp_path / "encoder.pkl", tmp_path)


def test_vqkd(tmp_path):
    network = built(Vqkd)
    torch.save(official_vqkd(network), tmp_path / "vqkd.pth")
    check_tokens(network, "beit2", tmp_path / "vqkd.pth", tmp_path)


def test_inspect_tells_them_apart(tmp_path):
    torch.save(built(Dvae).state_dict(), tmp_path / "a.pth")
    torch.save(official_vqkd(built(Vqkd)), tmp_path / "b.pth")
    assert "dvae" in support.lacuna("inspect", tmp_path / "a.pth").lower().replace("-", "")
    assert "vqkd" in support.lacuna("inspect", tmp_path / "b.pth").lower().replace("-", "")
