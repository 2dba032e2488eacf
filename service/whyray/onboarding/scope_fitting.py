"""What a scope package knows of ordinary images: how odd and how far those are that it did not learn from."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError
from whyray.explain.latent import fit_space, required_embedding
from whyray.inference import Model
from whyray.packages import ArtefactFacts, graph_digest
from whyray.quality import SCOPE, odds_against

FEWEST = 20
"""With fewer images apart, their percentiles say nothing."""


def scope_artefact(
    model: Model,
    fitting: Iterable[FloatArray],
    apart: Iterable[FloatArray],
    *,
    source: str,
    licence: str,
    made: date,
) -> tuple[ArtefactFacts, dict[str, NDArray[Any]]]:
    """Facts and arrays of the artefact `scope` of a scope package.

    Parameters
    ----------
    model
        Its first target is the ordinary image; it names an embedding.
    fitting, apart
        Ordinary images in layout, (1, ...): those by which the space of embeddings is fitted, which the network may
        have learned from, and those of other patients, whose odds and distances say what is usual.

    Raises PackageError with fewer than FEWEST images apart.
    """
    vectors, _ = _looked_at(model, fitting)
    held, logits = _looked_at(model, apart)
    if len(held) < FEWEST:
        raise PackageError(f"{model.identity}: expected {FEWEST} images apart, found {len(held)}", advice="Name more.")
    space = fit_space(vectors)
    facts = ArtefactFacts(
        kind=SCOPE,
        graph=graph_digest(model),
        package=model.identity,
        made=made,
        count=len(vectors) + len(held),
        source=source,
        licence=licence,
        details={"rest": space.rest, "fitting": len(vectors), "apart": len(held)},
    )
    return facts, {
        "mean": space.mean,
        "basis": space.basis,
        "variances": space.variances,
        "odds": np.sort(odds_against(logits)),
        "distances": np.sort(space.mahalanobis(held)),
    }


def _looked_at(model: Model, images: Iterable[FloatArray]) -> tuple[FloatArray, FloatArray]:
    runs = [model.session.run(model.network.checked_input(image)) for image in images]
    vectors = [required_embedding(model, run) for run in runs]
    return np.stack(vectors), np.concatenate([run.logits for run in runs])
