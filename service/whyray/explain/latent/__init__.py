"""Latent space: a model's embeddings of references, distances among them, and where a case lies."""

from whyray.explain.latent.embedding import (
    case_embedding,
    embedding_name,
    head_on_embedding,
    no_embedding,
    required_embedding,
)
from whyray.explain.latent.latent_position import LatentPositionMethod
from whyray.explain.latent.outliers import planted
from whyray.explain.latent.plane import normed, umap_layout
from whyray.explain.latent.reference_index import (
    KIND,
    MAHALANOBIS,
    NEIGHBOUR,
    PCA,
    UMAP,
    ReferenceIndex,
    from_artefact,
    how_to_make,
    index_of,
    missing,
)
from whyray.explain.latent.space import Space, fit_space, percentile, unit
from whyray.explain.latent.trustworthiness import ENOUGH, local_trustworthiness, trustworthiness

__all__ = [
    "ENOUGH",
    "KIND",
    "MAHALANOBIS",
    "NEIGHBOUR",
    "PCA",
    "UMAP",
    "LatentPositionMethod",
    "ReferenceIndex",
    "Space",
    "case_embedding",
    "embedding_name",
    "fit_space",
    "from_artefact",
    "head_on_embedding",
    "how_to_make",
    "index_of",
    "local_trustworthiness",
    "missing",
    "no_embedding",
    "normed",
    "percentile",
    "planted",
    "required_embedding",
    "trustworthiness",
    "umap_layout",
    "unit",
]
