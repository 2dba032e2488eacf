"""One network in torch, in bare ONNX Runtime and as a package: what the comparisons are made on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.big_nets import DenseNet121, ResNet50, UNet3D
from inference import nets
from whyray.explain import explain, explained_image
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.inference.compiled import CompiledEngine

THREADS = int(os.environ.get("WHYRAY_BENCH_THREADS", "2"))
_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and torch.cuda.is_available()
DEVICE = os.environ.get("WHYRAY_BENCH_DEVICE", "cuda" if _CUDA else "cpu")
OPTIONS = RuntimeOptions(device="cuda" if DEVICE == "cuda" else "cpu", intra_op_threads=THREADS)
BIG: dict[str, nets.Kind] = {
    "DenseNet-121": nets.Kind(DenseNet121, (224, 224), 3),
    "ResNet-50": nets.Kind(ResNet50, (224, 224), 3),
    "3-D U-Net": nets.Kind(UNet3D, (96, 96, 96), 1, "segmentation"),
}


class Bench:
    """A package and a bare session of the same graph; `net` is the torch module that it was exported from, if known."""

    def __init__(self, name: str, folder: Path, net: torch.nn.Module | None, x: np.ndarray) -> None:
        torch.set_num_threads(THREADS)
        self.name, self.x, self.target = name, x.astype(np.float32), 1
        self.net = None if net is None else net.to(DEVICE)
        self.model: Model = load_package(folder, options=OPTIONS)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = THREADS
        # as whyray's own sessions: a thread that waits in a loop would take the cores from whoever is measured next
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        cuda: list[Any] = [("CUDAExecutionProvider", {"use_tf32": "0"})] if DEVICE == "cuda" else []
        graph = self.model.package.graph
        self.session = onnxruntime.InferenceSession(graph, settings, providers=[*cuda, "CPUExecutionProvider"])
        self.entry = self.session.get_inputs()[0].name
        self.torch_x = torch.from_numpy(self.x).to(DEVICE)
        self._answered = explained_image(self.model, self.x)
        assert np.isfinite(self._answered.run.logits).all()
        self.batch = self.model.session.batch_size
        if self.model.task == "segmentation":  # random weights find some segments and not others
            winner = self.model.session.run(self.x).logits[0].argmax(axis=0)
            self.target = int(np.bincount(winner.ravel()).argmax())

    def bare(self, forwards: int, batch: int | None = None) -> Callable[[], None]:
        """So many items through the bare session, batch by batch, nothing else."""
        step = batch or self.batch
        items = np.repeat(self.x, step, axis=0)

        def run() -> None:
            for start in range(0, forwards, step):
                self.session.run(None, {self.entry: items[: min(step, forwards - start)]})

        return run

    def ours(
        self, method: str, target: Any = None, *, answered: bool = False, **parameters: Any
    ) -> Callable[[], object]:
        """The method from nothing: neither answer nor features are kept from the turn before.

        With `answered` the model's answer is known, as it always is in the service before anything is explained: a
        method with gradients then pays no further pass of ONNX Runtime to hold its engine against.
        """

        def run() -> object:
            wanted = self.model.targets[self.target] if target is None else target
            image = self._answered if answered else explained_image(self.model, self.x)
            return explain(self.model, image, target=wanted, method=method, **parameters)

        return run

    def compiled(self) -> Callable[[], object]:
        """The gradient of one target by the graph that was compiled for it."""
        regions = None
        if self.model.task == "segmentation":
            regions = np.zeros((1, *self.x.shape[2:]), np.float32)
            regions[..., : self.x.shape[-1] // 2] = 1
        return lambda: self._compiled.gradients(self.x, [self.target], regions)

    @cached_property
    def _compiled(self) -> CompiledEngine:
        return self.model.gradients.compiled()


def big(name: str, root: Path) -> Bench:
    """One of the big networks, with random weights: speed needs no training."""
    torch.manual_seed(0)
    nets.KINDS[name] = BIG[name]
    net = BIG[name].make().eval()
    count = 3 if BIG[name].task == "segmentation" else 14
    targets = [{"name": f"t{number}"} for number in range(count)]
    folder = nets.write_manifest(root / "big" / "1.0.0", {**nets.manifest(name, targets=targets), "name": "big"})
    nets.export(folder / "model.onnx", name, net, modern=False)
    return Bench(name, folder, net, nets.image(name).numpy())


def bundled(name: str) -> Bench:
    """A package that comes with WhyRay; nobody but WhyRay has its network in torch."""
    model = load_package(name, options=OPTIONS)
    shape = model.network.input_shape
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in model.spatial_shape), indexing="ij")
    blob = np.exp(-sum((axis - 0.2) ** 2 for axis in axes) * 4)
    return Bench(name, model.package.folder, None, np.broadcast_to(blob, shape))


def xaitk_classifier(bench: Bench) -> Any:
    """What xaitk-saliency asks, answered by the bare session in batches of the same size."""
    from smqtk_classifier import ClassifyImage

    class Classifier(ClassifyImage):  # type: ignore[misc]
        def get_labels(self) -> list[str]:
            return [str(number) for number in range(14)]

        def classify_images(self, img_iter: Iterable[np.ndarray]) -> Iterator[dict[str, float]]:
            waiting: list[np.ndarray] = []
            for image in img_iter:
                waiting.append(np.moveaxis(image, -1, 0))
                if len(waiting) == bench.batch:
                    yield from self._answers(waiting)
                    waiting = []
            if waiting:
                yield from self._answers(waiting)

        def _answers(self, images: list[np.ndarray]) -> Iterator[dict[str, float]]:
            batch = np.stack(images).astype(np.float32)
            for row in bench.session.run(None, {bench.entry: batch})[0]:
                yield {str(number): float(value) for number, value in enumerate(row)}

        def get_config(self) -> dict[str, Any]:
            return {}

    return Classifier()
