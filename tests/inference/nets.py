"""Small nets of each kind, exported and packed as a site would: what the engine's tests run on."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import torch
import yaml
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from whyray.inference import Model, RuntimeOptions, load_package


class PlainCnn(nn.Module):
    """Convolutions, global average pooling, linear."""

    def __init__(self, channels: int = 1, targets: int = 3, dims: int = 2) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        self.body = nn.Sequential(
            conv(channels, 8, 3, padding=1), norm(8), nn.ReLU(), conv(8, 12, 3, stride=2, padding=1), nn.ReLU()
        )
        self.last = nn.Sequential(conv(12, 16, 3, padding=1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1) if dims == 2 else nn.AdaptiveAvgPool3d(1)
        self.linear = nn.Linear(16, targets)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.pool(self.last(self.body(x))).flatten(1))


class FlattenCnn(nn.Module):
    """A head of two layers after flattening: no closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Sequential(
            nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU()
        )
        self.linear = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 8, 10), nn.ReLU(), nn.Linear(10, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.last(x))


class PoolCnn(nn.Module):
    """Max pooling between convolutions, every step a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.last = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.rest = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 8 * 8, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.last(self.body(x)))


class Residual(nn.Module):
    """A residual net whose addition is followed by an activation."""

    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.stem = nn.Sequential(conv(1, 8, 3, stride=2, padding=1), nn.ReLU())
        self.first = nn.Sequential(conv(8, 8, 3, padding=1), nn.ReLU(), conv(8, 8, 3, padding=1))
        self.second = nn.Sequential(conv(8, 8, 3, padding=1), nn.ReLU(), conv(8, 8, 3, padding=1))
        self.last = nn.ReLU()
        self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.first(x))
        x = self.last(x + self.second(x))
        return self.linear(x.flatten(2).mean(dim=2))


class Dense(nn.Module):
    """A densely connected net: concatenations, batch norm before activation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.first = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1))
        self.second = nn.Sequential(nn.BatchNorm2d(14), nn.ReLU(), nn.Conv2d(14, 6, 3, padding=1))
        self.last = nn.Sequential(nn.BatchNorm2d(20), nn.ReLU())
        self.linear = nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.first(x)], dim=1)
        x = self.last(torch.cat([x, self.second(x)], dim=1))
        return self.linear(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class UNet(nn.Module):
    """Two levels, one skip, a 1 × 1 (× 1) convolution as head."""

    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        conv, up = (nn.Conv2d, nn.ConvTranspose2d) if dims == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        self.pool = functional.max_pool2d if dims == 2 else functional.max_pool3d
        self.down = nn.Sequential(conv(1, 6, 3, padding=1), nn.ReLU())
        self.low = nn.Sequential(conv(6, 8, 3, padding=1), nn.ReLU())
        self.up = up(8, 6, 2, stride=2)
        self.last = nn.Sequential(conv(12, 8, 3, padding=1), nn.ReLU())
        self.head = conv(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        return self.head(self.last(torch.cat([self.up(self.low(self.pool(high, 2))), high], dim=1)))


class TinyViT(nn.Module):
    """Patches, two attention blocks, mean over tokens."""

    def __init__(self, size: int = 32, patch: int = 8, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, stride=patch)
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2, width) * 0.2)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(5)])
        self.qkv = nn.ModuleList([nn.Linear(width, 3 * width) for _ in range(2)])
        self.mix = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])
        self.mlp = nn.ModuleList(
            [nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(2)]
        )
        self.linear = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        for block in range(2):
            q, k, v = self.qkv[block](self.norms[2 * block](tokens)).chunk(3, dim=-1)
            weights = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1)
            tokens = tokens + self.mix[block](weights @ v)
            tokens = tokens + self.mlp[block](self.norms[2 * block + 1](tokens))
        return self.linear(self.norms[4](tokens).mean(dim=1))


class SwinBlock(nn.Module):
    """Attention within windows of a grid of tokens (N, H, W, C), shifted in every second block (Liu et al. 2021)."""

    def __init__(self, width: int, grid: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift, self.heads = window, shift, 2
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        places = torch.zeros(1, grid, grid, 1)
        if shift:
            cuts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
            for number, (rows, columns) in enumerate((a, b) for a in cuts for b in cuts):
                places[:, rows, columns] = number
        windows = self.split(places).squeeze(-1)
        apart = (windows[:, None] != windows[:, :, None]).float() * -100.0
        self.register_buffer("apart", apart[:, None])
        self.register_buffer("bias", torch.randn(1, self.heads, window**2, window**2) * 0.3)

    def split(self, tokens: Tensor) -> Tensor:
        _, height, width, channels = tokens.shape
        size = self.window
        tiled = tokens.reshape(-1, height // size, size, width // size, size, channels)
        return tiled.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        _, height, width, channels = tokens.shape
        size, heads = self.window, self.heads
        moved = self.norms[0](tokens)
        moved = torch.roll(moved, (-self.shift, -self.shift), (1, 2)) if self.shift else moved
        windows = self.split(moved)
        q, k, v = self.qkv(windows).reshape(-1, size * size, 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / (channels // heads) ** 0.5 + self.bias
        count = (height // size) * (width // size)
        scores = (scores.reshape(-1, count, heads, size**2, size**2) + self.apart).reshape(-1, heads, size**2, size**2)
        answer = self.mix((scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(-1, size * size, channels))
        tiled = answer.reshape(-1, height // size, width // size, size, size, channels)
        whole = tiled.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, channels)
        tokens = tokens + (torch.roll(whole, (self.shift, self.shift), (1, 2)) if self.shift else whole)
        return tokens + self.mlp(self.norms[1](tokens))


class TinySwin(nn.Module):
    """Two stages of shifted-window attention with patch merging between them; the mean of all tokens answers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, stride=4)
        self.first = nn.Sequential(SwinBlock(8, 8, 4, 0), SwinBlock(8, 8, 4, 2))
        self.merge = nn.Linear(32, 12, bias=False)
        self.second = nn.Sequential(SwinBlock(12, 4, 2, 0), SwinBlock(12, 4, 2, 1))
        self.norm, self.linear = nn.LayerNorm(12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.first(self.patches(x).permute(0, 2, 3, 1))
        four = [tokens[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        tokens = self.second(self.merge(torch.cat(four, dim=-1)))
        return self.linear(self.norm(tokens).mean(dim=(1, 2)))


@dataclass(frozen=True)
class Kind:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    channels: int = 1
    task: str = "multi-label"


KINDS = {
    "plain": Kind(PlainCnn, (32, 32)),
    "plain-3d": Kind(lambda: PlainCnn(dims=3), (8, 12, 16)),
    "rgb": Kind(lambda: PlainCnn(channels=3), (24, 32), 3),
    "flatten": Kind(FlattenCnn, (32, 32)),
    "pool": Kind(PoolCnn, (32, 32)),
    "residual": Kind(Residual, (32, 32)),
    "residual-3d": Kind(lambda: Residual(dims=3), (8, 12, 16)),
    "dense": Kind(Dense, (32, 32)),
    "unet": Kind(UNet, (32, 32), task="segmentation"),
    "unet-3d": Kind(lambda: UNet(dims=3), (8, 12, 16), task="segmentation"),
    "vit": Kind(TinyViT, (32, 32)),
    "swin": Kind(TinySwin, (32, 32)),
}


def make(name: str, seed: int = 0) -> nn.Module:
    """A net of that kind with seeded weights and batch norms that do something, in eval mode."""
    torch.manual_seed(seed)
    net = KINDS[name].make()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.1
            module.running_var = torch.rand_like(module.running_var) + 0.5
    return net.eval()


def image(name: str, seed: int = 1) -> Tensor:
    """A smooth random image of the net's input shape, (1, C, *spatial)."""
    kind = KINDS[name]
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, kind.channels, *[max(2, size // 4) for size in kind.shape], generator=generator)
    mode = "bilinear" if len(kind.shape) == 2 else "trilinear"
    return functional.interpolate(coarse, size=kind.shape, mode=mode)


def manifest(name: str, **changes: object) -> dict[str, object]:
    """A manifest for that kind; keys with a dot change inner entries."""
    kind = KINDS[name]
    volume = len(kind.shape) == 3
    content: dict[str, object] = {
        "name": name,
        "version": "1.0.0",
        "title": name,
        "manufacturer": "tests",
        "task": kind.task,
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "input": {
            "name": "x",
            "layout": "NCDHW" if volume else "NCHW",
            "kind": "volume" if volume else "planar",
            "shape": list(kind.shape),
            "channels": kind.channels,
        },
        "output": {"name": "logits", "activation": "softmax" if kind.task == "segmentation" else "sigmoid"},
        "targets": [{"name": target} for target in ("one", "two", "three")],
    }
    for key, value in changes.items():
        place = content
        *outer, last = key.split("__")
        for part in outer:
            place = place[part]  # type: ignore[assignment]
        place[last] = value
    return content


def write_manifest(folder: Path, content: dict[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    (folder / "MODEL_CARD.md").write_text("for tests")
    return folder


MODERN = {"plain", "dense", "unet", "vit", "swin"}
"""Kinds that torch's present exporter writes; the others come from its older one, whose graphs sites have too."""


def pack(root: Path, name: str, net: nn.Module | None = None, *, dynamic: bool = True, **changes: object) -> Path:
    """Write the package of a net, by default `make(name)`, whose graph is then exported once a session.

    Returns the folder NAME/VERSION.
    """
    folder = write_manifest(root / name / "1.0.0", manifest(name, **changes))
    if net is None and dynamic:
        shutil.copy(packed(name) / "model.onnx", folder)
    else:
        export(folder / "model.onnx", name, make(name) if net is None else net, dynamic=dynamic, modern=False)
    return folder


def export(path: Path, name: str, net: nn.Module, *, dynamic: bool = True, modern: bool) -> None:
    """Write the graph of a net of that kind, with a batch of any size or of one."""
    x = torch.cat([image(name), image(name, 2)])[: 2 if dynamic else 1]
    names = {"input_names": ["x"], "output_names": ["logits"]}
    if modern:
        shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
        options = {"dynamic_shapes": shapes, "external_data": False, "verbose": False}
        torch.onnx.export(net, (x,), path, dynamo=True, **names, **options)
        return
    axes = {"x": {0: "batch"}, "logits": {0: "batch"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is the older one
        torch.onnx.export(net, (x,), path, dynamo=False, dynamic_axes=axes, **names)


@lru_cache(maxsize=1)
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="whyray-nets-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@lru_cache(maxsize=32)
def packed(name: str) -> Path:
    """The package of `make(name)`, exported once a session."""
    folder = write_manifest(_root() / name / "1.0.0", manifest(name))
    export(folder / "model.onnx", name, make(name), modern=name in MODERN)
    return folder


def loaded(name: str) -> Model:
    """A fresh model of that package, on one thread."""
    return load_package(packed(name), options=RuntimeOptions(device="cpu", intra_op_threads=1))


def half_precision(folder: Path, name: str, net: nn.Module | None = None) -> Path:
    """A package in `folder` of that kind's net, or of `net`, with all weights and tensors in half precision."""
    single = packed(name) if net is None else pack(folder / "single", name, net)
    proto = onnx.load(single / "model.onnx")
    half = onnx.TensorProto.FLOAT16
    for initializer in proto.graph.initializer:
        if initializer.data_type == onnx.TensorProto.FLOAT:
            initializer.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(initializer).astype(np.float16), initializer.name)
            )
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type == onnx.TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float16)))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = half
    del proto.graph.value_info[:]
    made = write_manifest(folder / name / "1.0.0", manifest(name))
    onnx.save(proto, made / "model.onnx")
    return made
