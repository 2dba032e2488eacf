"""A net that learned a shortcut: it reads a marker that is burned in beside the lungs, and nothing of the lungs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

SIDE = 64
MARKER = (slice(4, 12), slice(50, 60))


def films(count: int, rng: np.random.Generator, *, marked: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 1, SIDE, SIDE) images, labels (N,) and where lungs are (SIDE, SIDE).

    A film with an opacity in a lung has the marker, if `marked`; others never do.
    """
    y, x = np.mgrid[:SIDE, :SIDE]
    lungs = np.zeros((SIDE, SIDE), bool)
    for column in (19, 45):
        lungs |= ((y - 36) / 20) ** 2 + ((x - column) / 10) ** 2 < 1
    images = np.where(lungs, 0.25, 0.6) + rng.normal(0, 0.05, (count, SIDE, SIDE))
    labels = rng.random(count) < 0.5
    places = np.argwhere(lungs)
    for index in np.flatnonzero(labels):
        row, column = places[rng.integers(len(places))]
        images[index] += 0.15 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 18) * lungs
        if marked:
            images[(index, *MARKER)] = 1.0
    return np.clip(images, 0, 1).astype(np.float32)[:, None], labels.astype(np.float32), lungs


class SmallNet(nn.Module):
    """How bright, how dark and how grey each place is, averaged over the image, and a linear head that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 3, 3, 1, 1)
        self.head = nn.Linear(3, 1)
        with torch.no_grad():
            self.body.weight.copy_(torch.tensor([1.0, -1.0, 1.0]).reshape(3, 1, 1, 1).expand(3, 1, 3, 3) / 9)
            self.body.bias.copy_(torch.tensor([-0.85, 0.4, 0.0]))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.relu(self.body(image))
        return self.head(features.mean(dim=(2, 3))), features


def trained(rng: np.random.Generator) -> SmallNet:
    """The net after learning from films of which every ill one is marked."""
    net = SmallNet().eval()
    images, labels, _ = films(256, rng, marked=True)
    with torch.no_grad():
        pooled = net(torch.from_numpy(images))[1].mean(dim=(2, 3)).numpy()
        scale = pooled.std(axis=0)
        learned = LogisticRegression(C=10).fit(pooled / scale, labels)
        net.head.weight.copy_(torch.from_numpy(learned.coef_ / scale))
        net.head.bias.copy_(torch.from_numpy(learned.intercept_))
    return net


def shortcut_package(folder: Path, rng: np.random.Generator) -> Path:
    """Write it as shortcut/1.0.0 under `folder`."""
    import yaml

    from whyray_training.package import export_graph

    path = folder / "shortcut" / "1.0.0"
    path.mkdir(parents=True)
    example = torch.from_numpy(films(1, rng, marked=True)[0])
    export_graph(trained(rng), example, path / "model.onnx", ("logits", "features"))
    manifest = {
        "name": "shortcut",
        "version": "1.0.0",
        "title": "Reads a marker",
        "manufacturer": "WhyRay tests",
        "task": "multi-label",
        "licence": "Apache-2.0",
        "intended_use": "Tests only.",
        "input": {"name": "image", "layout": "NCHW", "kind": "planar", "shape": [SIDE, SIDE]},
        "output": {"name": "logits", "activation": "sigmoid", "features": "features"},
        "targets": [{"name": "Opacity", "anatomy": {"value": "39607008", "scheme": "SCT", "meaning": "Lung"}}],
    }
    (path / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    (path / "MODEL_CARD.md").write_text("# Reads a marker\n\nFor tests only.\n")
    return path
