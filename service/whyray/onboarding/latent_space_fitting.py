"""Making a reference index: embeddings, a split, a space; no names, no file names, no UIDs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError
from whyray.explain import displayed, predicted_regions, resampled
from whyray.explain.latent import (
    ReferenceIndex,
    embedding_name,
    fit_space,
    normed,
    required_embedding,
    trustworthiness,
    umap_layout,
    unit,
)
from whyray.inference import Model

Thumbnail = NDArray[np.uint8]
PICTURE_SIZE = 128
FEWEST = 20
"""With fewer references neither a covariance nor a percentile says anything."""
_MOST_COMPARED = 2000


@dataclass(frozen=True)
class Embedded:
    """What is kept of one image while an index is made.

    `digest` of the model's input tells the same image twice; `group` tells who belongs together (a patient), so that a
    held-out reference has no sibling among the others. Neither is written into the index, and `order` is the digest's.
    """

    embedding: FloatArray
    answer: FloatArray
    logits: FloatArray
    known: NDArray[np.int8]
    digest: str
    group: str
    picture: NDArray[np.uint8] | None


def embed(
    model: Model,
    x: FloatArray,
    labels: Mapping[str, bool],
    *,
    group: str = "",
    picture: NDArray[np.uint8] | None = None,
) -> Embedded:
    """One forward pass of `x` (in layout, one image)."""
    image = model.network.checked_input(x)
    run = model.session.run(image)
    answer = model.answer(run.logits)[0]
    logits = run.logits[0]
    regions = predicted_regions(model, run.logits)
    if regions is not None:
        answer = regions.reshape(len(regions), -1).mean(axis=1).astype(np.float32)
        logits = answer
    known = np.array([-1 if name not in labels else int(labels[name]) for name in model.targets], np.int8)
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
    return Embedded(
        required_embedding(model, run).astype(np.float32), answer, logits, known, digest, group or digest, picture
    )


def thumbnail(model: Model, x: FloatArray) -> NDArray[np.uint8]:
    """(h, w) uint8, the longer side 128 at most: the image as displayed; of a volume the middle slice."""
    shown = displayed(model.network.checked_input(x), model.manifest.input)[0]
    if shown.ndim == 3:
        shown = shown[len(shown) // 2]
    return as_bytes(shown)


def as_bytes(picture: FloatArray, size: int = PICTURE_SIZE) -> NDArray[np.uint8]:
    """(h, w) in 0..1 to uint8, the longer side at most `size`."""
    part = min(1.0, size / max(picture.shape))
    shape = tuple(max(1, round(length * part)) for length in picture.shape)
    return np.asarray(np.round(np.clip(resampled(picture[None], shape)[0], 0, 1) * 255), np.uint8)


def without_repeats(entries: Sequence[Embedded]) -> list[Embedded]:
    """Each image once, in the order of digests: how files are called or sorted leaves no trace."""
    by_digest = {entry.digest: entry for entry in entries}
    return [by_digest[digest] for digest in sorted(by_digest)]


def index_arrays(
    model: Model, entries: Sequence[Embedded], *, seed: int, held_out: float = 0.3, umap: bool = True
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and details of an index of `entries` (each image once); PackageError with fewer than 20.

    held_out: about that share of the images, whole groups, is kept from the space, so that distances of images that
    it was not fitted on are known.
    """
    if len(entries) < FEWEST:
        raise PackageError(
            f"{model.identity}: a reference index needs at least {FEWEST} different images, found {len(entries)}",
            advice="Name more images; some hundreds tell more.",
        )
    vectors = np.stack([entry.embedding for entry in entries])
    kept_out = split([entry.group for entry in entries], held_out, seed)
    space = fit_space(vectors[~kept_out])
    layout = umap_layout(normed(space, vectors), seed) if umap else None
    arrays: dict[str, NDArray[Any]] = {
        "embeddings": vectors,
        "answers": np.stack([entry.answer for entry in entries]).astype(np.float32),
        "logits": np.stack([entry.logits for entry in entries]).astype(np.float32),
        "known": np.stack([entry.known for entry in entries]),
        "held_out": kept_out,
        "pictured": np.array([entry.picture is not None for entry in entries]),
        **_pictures(entries),
        "mean": space.mean,
        "basis": space.basis,
        "variances": space.variances,
        "explained": space.explained,
        **({} if layout is None else {"umap": layout}),
    }
    details = {
        "targets": list(model.targets),
        "embedding": embedding_name(model),
        "rest": space.rest,
        "shrinkage": space.shrinkage,
        "seed": seed,
    }
    return arrays, details


def plane_details(index: ReferenceIndex) -> dict[str, Any]:
    """Trustworthiness of each plane, and how far a new case's place on a layout is off."""
    step = max(1, -(-len(index) // _MOST_COMPARED))
    picked = np.arange(0, len(index), step)
    vectors = unit(index.space.centred(index.embeddings[picked]))
    details: dict[str, Any] = {
        "trustworthiness": {name: trustworthiness(vectors, places[picked]) for name, places in index.planes.items()}
    }
    if index.placing is not None:
        details["placement error"] = index.placing.error()
    return details


def split(groups: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """(N,): True for about `share` of the images, whole groups, at random; always some on either side."""
    sizes = Counter(groups)
    names = sorted(sizes)
    order = np.random.default_rng(seed).permutation(len(names))
    wanted, count = share * len(groups), 0
    chosen: set[str] = set()
    for index in order[:-1]:
        if count >= wanted:
            break
        chosen.add(names[index])
        count += sizes[names[index]]
    held_out = np.array([group in chosen for group in groups])
    if held_out.sum() < 2 or (~held_out).sum() < 2:
        raise PackageError(
            f"of {len(groups)} images of {len(names)} patients some can't be held out",
            advice="Name images of more patients.",
        )
    return held_out


def _pictures(entries: Sequence[Embedded]) -> dict[str, NDArray[np.uint8]]:
    shown = [entry.picture for entry in entries if entry.picture is not None]
    if not shown:
        return {}
    blank = np.zeros_like(shown[0])
    return {"pictures": np.stack([blank if entry.picture is None else entry.picture for entry in entries])}
