"""A reference index and what it is worth, measured while it is made: the only time when its images are at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.statistics import auc
from whyray.explain import displayed
from whyray.explain.cases import neighbours_of_all, search_for
from whyray.explain.counterfactual import LatentSpace, why_no_latents
from whyray.explain.latent import KIND, ReferenceIndex, from_artefact, planted, required_embedding, unit
from whyray.inference import Model
from whyray.onboarding.latent_space_fitting import Embedded, embed, index_arrays, plane_details, without_repeats
from whyray.packages import Artefact, ArtefactFacts, graph_digest
from whyray.quality import NEIGHBOURS, correlation, randomised

SAMPLE = 48
"""Images that outliers are made of, and whose neighbours are looked for again with randomised weights."""


@dataclass(frozen=True)
class IndexFacts:
    """What is known of the images of an index, in words and switches.

    source, licence: as in ArtefactFacts. synthetic: whether pictures come from a decoder. umap: whether a layout is
    fitted where umap-learn is installed. outliers: further images that the package is not made for, in layout.
    """

    source: str
    licence: str
    made: date
    synthetic: bool = False
    umap: bool = True
    seed: int = 0
    outliers: Sequence[FloatArray] = ()
    more: dict[str, Any] = field(default_factory=dict)


class Collected:
    """Images of an index to be, one by one: embedded and let go, but for a sample."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.entries: list[Embedded] = []
        self.latents = _latents(model)
        self._sample: dict[str, FloatArray] = {}
        self._codes: dict[str, FloatArray] = {}

    def add(
        self, x: FloatArray, labels: dict[str, bool], *, group: str = "", picture: NDArray[np.uint8] | None = None
    ) -> None:
        """One image, in layout; `group` tells who belongs together (a patient) and is not kept."""
        entry = embed(self.model, x, labels, group=group, picture=picture)
        self.entries.append(entry)
        if self.latents is not None:
            self._codes[entry.digest] = self.latents.encode(self.shown(x)[None])[0]
        self._sample[entry.digest] = self.model.network.checked_input(x)
        if len(self._sample) > 2 * SAMPLE:  # those of the smallest digests: the same whatever the order was
            self._sample = dict(sorted(self._sample.items())[:SAMPLE])

    def shown(self, x: FloatArray) -> FloatArray:
        """(*spatial) in 0..1: an image in layout as it is displayed."""
        only: FloatArray = displayed(self.model.network.checked_input(x), self.model.manifest.input)[0]
        return only

    @property
    def code_mean(self) -> FloatArray | None:
        """(Z,): the middle of the images' codes; None without an autoencoder."""
        codes = [code for _, code in sorted(self._codes.items())]
        return np.asarray(np.mean(codes, axis=0, dtype=np.float64), np.float32) if codes else None

    @property
    def sample(self) -> list[tuple[str, FloatArray]]:
        """Up to 48 (digest, channels-first image), by digest."""
        return sorted(self._sample.items())[:SAMPLE]


def make_index(
    collected: Collected, stated: IndexFacts, *, progress: Callable[[float, str], None] = lambda _, __: None
) -> tuple[ArtefactFacts, dict[str, NDArray[Any]]]:
    """Facts and arrays of the artefact, to be written; the same images give the same, whatever they are called.

    Measures: trustworthiness of each plane; how well distances tell planted outliers from held-out references (AUROC);
    whether references find themselves, moved by a pixel; how well neighbours foretell the answer, against chance; and
    whether neighbours change when the weights are randomised (Adebayo et al. 2018). Raises PackageError with too few.
    """
    model = collected.model
    entries = without_repeats(collected.entries)
    progress(0.0, "fitting the space")
    arrays, details = index_arrays(model, entries, seed=stated.seed, umap=stated.umap)
    if collected.code_mean is not None and collected.latents is not None:
        arrays["code_mean"] = collected.code_mean
        details["autoencoder"] = collected.latents.identity
    facts = ArtefactFacts(
        kind=KIND,
        graph=graph_digest(model),
        package=model.identity,
        made=stated.made,
        count=len(entries),
        source=stated.source,
        licence=stated.licence,
        synthetic=stated.synthetic,
        details=details,
    )
    index = from_artefact(Artefact(Path(KIND), facts, arrays, ""))
    details |= plane_details(index)
    places = {entry.digest: number for number, entry in enumerate(entries)}
    sample = [(places[digest], x) for digest, x in collected.sample]
    progress(0.2, "planting outliers")
    details |= outliers(model, index, [x for _, x in sample], stated)
    progress(0.5, "looking for each reference")
    details["self-retrieval"] = self_retrieval(model, index, sample)
    details["agreement"] = {name: agreement(model, index, number, entries) for number, name in enumerate(model.targets)}
    progress(0.6, "randomising weights")
    details["randomised"] = changed_neighbours(model, [x for _, x in sample], stated.seed)
    details |= stated.more
    return facts.model_copy(update={"details": _plain(details)}), arrays


def _latents(model: Model) -> LatentSpace | None:
    return None if why_no_latents(model, method=KIND) is not None else LatentSpace(model, method=KIND)


def outliers(model: Model, index: ReferenceIndex, images: Sequence[FloatArray], stated: IndexFacts) -> dict[str, Any]:
    """AUROC of each distance by kind of outlier, and the distance whose mean is best."""
    usual = index.usual
    aurocs: dict[str, dict[str, float]] = {name: {} for name in usual}
    kinds: dict[str, Iterable[FloatArray]] = dict(planted(model, np.concatenate(images), stated.seed))
    if stated.outliers:
        kinds["other images"] = [model.network.checked_input(outlier)[0] for outlier in stated.outliers]
    for kind, changed in kinds.items():
        vectors = _embeddings(model, [image[None] for image in changed])
        for name, values in index.distances(vectors).items():
            aurocs[name][kind] = auroc(usual[name], values)
    means = {name: float(np.mean(list(by_kind.values()))) for name, by_kind in aurocs.items()}
    return {"outliers": aurocs, "outlier AUROC": means, "distance": max(means, key=lambda name: means[name])}


def auroc(inside: FloatArray, outside: FloatArray) -> float:
    """Chance that an outlier is farther than a reference, ties counting half."""
    return auc(np.repeat([0.0, 1.0], [len(inside), len(outside)]), np.concatenate([inside, outside]))


def self_retrieval(model: Model, index: ReferenceIndex, sample: Sequence[tuple[int, FloatArray]]) -> dict[str, float]:
    """Share of references that are found first by themselves, as they are and moved by one pixel."""
    numbers = np.array([number for number, _ in sample])
    retrieved = {}
    for name, shift in (("as it is", 0), ("moved by a pixel", 1)):
        vectors = _embeddings(model, [np.roll(x, shift, axis=-1) for _, x in sample])
        cosine = unit(index.space.centred(vectors)) @ index.normed.T
        retrieved[name] = float(np.mean(cosine.argmax(axis=1) == numbers))
    return retrieved


def agreement(model: Model, index: ReferenceIndex, target: int, entries: Sequence[Embedded]) -> dict[str, float]:
    """Correlation of the mean logit of five neighbours, of other patients, with a reference's own; and by chance."""
    if model.task == "segmentation":
        return {}
    groups = np.array([entry.group for entry in entries])
    search = search_for(index, model, target, metric="cosine", weighting="contribution")
    wide = neighbours_of_all(search, min(len(entries) - 1, 4 * NEIGHBOURS))
    near = [row[groups[row] != groups[number]][:NEIGHBOURS] for number, row in enumerate(wide)]
    usable = [number for number, row in enumerate(near) if len(row)]
    own = index.logits[:, target]
    foretold = np.array([own[near[number]].mean() for number in usable])
    return correlation(foretold, own[usable], np.random.default_rng(0))


def changed_neighbours(model: Model, images: Sequence[FloatArray], seed: int) -> dict[str, Any]:
    """`stages`: what was randomised, and the overlap of the sample's neighbours with those before; and `chance`.

    Neighbours are by cosine of contributions where the head is affine, over all targets, else of embeddings.
    """
    k = min(NEIGHBOURS, len(images) - 1)
    before = _neighbour_sets(model, images, k)
    stages = [
        [
            stage,
            float(np.mean([len(a & b) / k for a, b in zip(before, _neighbour_sets(other, images, k), strict=True)])),
        ]
        for stage, other in randomised(model, np.random.default_rng(seed))
    ]
    return {"stages": stages, "chance": k / (len(images) - 1)}


def _neighbour_sets(model: Model, images: Sequence[FloatArray], k: int) -> list[set[int]]:
    from whyray.explain.latent import head_on_embedding

    vectors = _embeddings(model, images)
    centred = vectors - vectors.mean(axis=0)
    head = head_on_embedding(model)
    weights = np.ones((1, vectors.shape[1]), np.float32) if head is None else head.weight
    sets: list[set[int]] = []
    for weight in weights:
        ready = unit(np.asarray(centred * weight, np.float32))
        cosine = ready @ ready.T
        np.fill_diagonal(cosine, -np.inf)
        sets += [set(map(int, row)) for row in np.argsort(-cosine, axis=1, kind="stable")[:, :k]]
    return sets


def _embeddings(model: Model, images: Iterable[FloatArray]) -> FloatArray:
    """(N, D) of channels-first images (1, C, *spatial) each."""
    return np.stack([required_embedding(model, model.session.run(np.ascontiguousarray(image))) for image in images])


def _plain(value: Any) -> Any:
    """Numbers rounded to six digits: what is kept is read by people, too."""
    if isinstance(value, dict):
        return {str(key): _plain(nested) for key, nested in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(nested) for nested in value]
    return float(f"{value:.6g}") if isinstance(value, float | np.floating) else value
