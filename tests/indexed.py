"""Planted packages with their reference index, made as `whyray package index` makes it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from planted_cases import TARGETS, images_of
from whyray.explain.latent import KIND
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import thumbnail
from whyray.onboarding.reference_index import Collected, IndexFacts, make_index
from whyray.packages import write_artefact

REFERENCES = ("upper left", "lower right", "upper right") * 20


def load(folder: Path) -> Model:
    return load_package(folder, options=RuntimeOptions(device="cpu", intra_op_threads=1))


def with_index(folder: Path, *, pictures: bool = True, labelled: bool = True) -> Model:
    """The package's model, with an index of 60 planted images in its onboarding folder."""
    model = load(folder)
    collected = Collected(model)
    for place, x in zip(REFERENCES, images_of(REFERENCES), strict=True):
        labels = {name: name == place for name in TARGETS} if labelled else {}
        collected.add(x, labels, picture=thumbnail(model, x) if pictures else None)
    facts, arrays = make_index(collected, IndexFacts("planted images", "CC0", date(2026, 1, 2), umap=False))
    write_artefact(folder / "onboarding" / f"{KIND}.npz", facts, arrays)
    return load(folder)
