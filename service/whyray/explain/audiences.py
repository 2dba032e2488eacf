"""Groups of methods under one name, for routes and the command line: all, or what suits one kind of reader.

After the guidelines of Salahuddin et al. 2022: explanations are chosen for who reads them, several complementary types
stand together, and none without its evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from whyray.explain.explain import why_not
from whyray.explain.registry import methods
from whyray.inference import Model

AUDIENCES: dict[str, tuple[str, ...]] = {
    "radiologist": ("grad-cam", "seg-grad-cam", "region-shares", "similar-cases", "latent-position", "narrative"),
    "scientist": (
        "grad-cam",
        "seg-grad-cam",
        "integrated-gradients",
        "occlusion",
        "concept-bottleneck",
        "tcav",
        "similar-cases",
        "prototypes",
        "latent-shift",
        "region-counterfactual",
        "latent-position",
        "region-shapley",
        "unit-report",
        "narrative",
    ),
    "administrator": ("grad-cam", "seg-grad-cam", "latent-position"),
}
"""Readers, and the methods that suit them: where a package can't give one, the others stand."""
ALL = "all"
GROUPS = (ALL, *AUDIENCES)
"""Names that stand for several methods."""


def expanded(requests: Mapping[str, Mapping[str, Any]], model: Model) -> dict[str, dict[str, Any]]:
    """Wishes with each group replaced by those of its methods that this model can be explained by.

    A method that is also wished for by name keeps its own parameters. Methods for research only are in no group.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, parameters in requests.items():
        for method in _members(name, model) if name in GROUPS else (name,):
            found.setdefault(method, {}).update({} if name in GROUPS else parameters)
    return found


def _members(group: str, model: Model) -> Iterable[str]:
    able = [method.name for method in methods() if method.deliverable and why_not(method, model) is None]
    return able if group == ALL else [each for each in AUDIENCES[group] if each in able]
