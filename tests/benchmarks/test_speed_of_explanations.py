"""Explanations against bare forward passes and against the reference implementations, in one run. `make bench`.

Nothing is asserted about time; the table is what is wanted, on two quiet cores within eight minutes. References run the
net that was exported, in torch, on as many threads as ONNX Runtime has.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion, Saliency

from benchmarks.big_nets import DenseNet121, ResNet50
from benchmarks.side_by_side import side_by_side
from explain.references import reference
from models import nets
from whyray.explain import explain
from whyray.models import Model, RuntimeOptions, load_package
from whyray.quality import Budget, assess

pytestmark = pytest.mark.benchmark
THREADS = int(os.environ.get("WHYRAY_BENCH_THREADS", "2"))
TURNS = int(os.environ.get("WHYRAY_BENCH_TURNS", "5"))
NETS: dict[str, type[torch.nn.Module]] = {"DenseNet-121": DenseNet121, "ResNet-50": ResNet50}


class Bench:
    """One big net: in torch, in bare ONNX Runtime, and as a package."""

    def __init__(self, folder: Path, name: str) -> None:
        torch.set_num_threads(THREADS)
        torch.manual_seed(0)
        self.name, self.net = name, NETS[name]().eval()
        nets.KINDS["big"] = nets.Kind(NETS[name], (224, 224), 3)
        targets = [{"name": f"t{number}"} for number in range(14)]
        path = nets.pack(folder, "big", self.net, targets=targets)
        self.model: Model = load_package(path, options=RuntimeOptions(device="cpu", intra_op_threads=THREADS))
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = THREADS
        self.session = onnxruntime.InferenceSession(path / "model.onnx", settings, providers=["CPUExecutionProvider"])
        self.x = nets.image("big").numpy()
        self.torch_x = torch.from_numpy(self.x)

    def bare(self, forwards: int, batch: int = 8) -> Callable[[], None]:
        items = np.repeat(self.x, batch, axis=0)

        def run() -> None:
            for start in range(0, forwards, batch):
                self.session.run(None, {"x": items[: min(batch, forwards - start)]})

        return run

    def ours(self, method: str, target: Any = "t3", **parameters: Any) -> Callable[[], object]:
        def run() -> object:
            self.model.forget()
            return explain(self.model, self.x, target=target, method=method, **parameters)

        return run


@pytest.fixture(scope="module", params=list(NETS))
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), request.param)


def test_grad_cam(bench: Bench) -> None:
    package = reference("pytorch_grad_cam")
    output = reference("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(3)
    cam = package.GradCAM(bench.net, [bench.net.last])
    side_by_side(
        f"{bench.name}: Grad-CAM",
        {
            "bare ONNX Runtime inference": bench.bare(1, 1),
            "whyray, all 14 targets": bench.ours("grad-cam", "all"),
            "pytorch-grad-cam, 1 target": lambda: cam(bench.torch_x, targets=[output]),
            "captum LayerGradCam, 1 target": lambda: LayerGradCam(bench.net, bench.net.last).attribute(
                bench.torch_x, target=3
            ),
        },
        turns=3 * TURNS,
    )


def test_perturbation(bench: Bench) -> None:
    drawn = torch.rand(32, 1, 224, 224)

    def torch_rise() -> object:
        with torch.no_grad():
            p = torch.cat([bench.net(drawn[start : start + 8] * bench.torch_x) for start in range(0, 32, 8)])
        return p.T @ drawn.flatten(1)

    side_by_side(
        f"{bench.name}: 32 masked images",
        {
            "32 bare forwards, batch 8": bench.bare(32),
            "whyray rise, 32 masks": bench.ours("rise", masks=32),
            "whyray score-cam, 32 channels": bench.ours("score-cam", channels=32),
            "published RISE in torch, masks given": torch_rise,
        },
        turns=TURNS,
    )
    captum_occlusion = Occlusion(bench.net)
    side_by_side(
        f"{bench.name}: occlusion, 49 windows",
        {
            "49 bare forwards, batch 8": bench.bare(49),
            "whyray occlusion": bench.ours("occlusion", window=32, stride=32, fill="zero"),
            "captum Occlusion, batch 8": lambda: captum_occlusion.attribute(
                bench.torch_x, (3, 32, 32), strides=(3, 32, 32), target=3, perturbations_per_eval=8
            ),
        },
        turns=TURNS,
    )


def test_gradients(bench: Bench) -> None:
    ways = {
        "bare ONNX Runtime inference": bench.bare(1, 1),
        "whyray gradient": bench.ours("gradient"),
        "captum Saliency": lambda: Saliency(bench.net).attribute(bench.torch_x, target=3),
        "whyray deep-lift": bench.ours("deep-lift", tolerance=1e9),
        "whyray lrp": bench.ours("lrp", tolerance=1e9),
    }
    side_by_side(f"{bench.name}: one gradient", ways, turns=TURNS)
    side_by_side(
        f"{bench.name}: integrated gradients, 16 steps",
        {
            "captum, batch 8": lambda: IntegratedGradients(bench.net).attribute(
                bench.torch_x, target=3, n_steps=16, internal_batch_size=8
            ),
            "whyray": bench.ours("integrated-gradients", steps=16, most_steps=16, tolerance=1e9),
        },
        turns=max(3, TURNS // 2),
    )


def test_quality_card(bench: Bench) -> None:
    maps = explain(bench.model, bench.x, target=["t3", "t4"], method="hi-res-cam")

    def first() -> None:
        bench.model.forget()
        assess(bench.model, bench.x, maps[0], budget=Budget())

    side_by_side(
        f"{bench.name}: quality card",
        {
            "100 bare forwards, batch 8": bench.bare(100),
            "first card of an image": first,
            "each further card of the image": lambda: assess(bench.model, bench.x, maps[1], budget=Budget()),
        },
        turns=3,
    )
