"""What a package has beside it, what is missing, what that means for its users, and how it is added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from whyray.base.errors import WhyRayError
from whyray.explain.anatomy import STUDY
from whyray.inference import Model
from whyray.packages import CompanionRole


@dataclass(frozen=True)
class _Role:
    """What a companion is for.

    `without` is what it means that a package names none; `lost` that the one named can't be loaded; `add` how to name
    one.
    """

    without: str
    lost: str
    add: str


_CHEST = "for frontal chest radiographs add `companions: {%s}` to model.yaml"
ROLES: Mapping[CompanionRole, _Role] = {
    "scope": _Role(
        "nothing checks whether an image is one that the package was made for: it answers about any image, a leg or an "
        "upside-down chest too",
        "no statement is made about any image, since what the package demands can't be checked",
        _CHEST % "scope: cxr-scope@1" + "; for other images `whyray package index NAME --images DIR` keeps references "
        "of your own, and what lies far from them gets no statement",
    ),
    "anatomy": _Role(
        "nothing checks whether a map lies where such a finding can lie: without boxes at onboarding its maps are to "
        "be used with caution at best, and none is told by anatomy",
        "nothing checks whether a map lies where such a finding can lie, and no map is told by anatomy",
        _CHEST % "anatomy: cxr-anatomy@1" + "; `{anatomy: study}` where your studies bring their own segmentations",
    ),
    "autoencoder": _Role(
        "latent-shift can't show what would change the answer, and latent-position draws no way through the case",
        "latent-shift is refused, and latent-position draws no way through the case",
        _CHEST % "autoencoder: cxr-autoencoder@1",
    ),
    "captioner": _Role(
        "", "nothing is told in sentences of its own", "name another under companions.captioner in model.yaml"
    ),
}
_INSTALL = "copy its folder NAME/VERSION/ beside this package's and name where both lie with --folder, or "


def missing_companions(model: Model) -> Iterator[tuple[CompanionRole, str, str]]:
    """Companions that model.yaml names and that can't be loaded: the role, what that means, and what to do."""
    for role, named in model.manifest.companions.items():
        if role == "anatomy" and named == STUDY:
            continue
        try:
            model.companion(role, method="`whyray package check`")
        except WhyRayError as error:
            words = ROLES[role]
            yield (
                role,
                f"its companion {role} {named!r} can't be loaded ({error.message}): {words.lost}",
                f"{_INSTALL[0].upper()}{_INSTALL[1:]}{words.add}.",
            )


def unnamed_companions(model: Model) -> Iterator[str]:
    """For each companion that a package of one image a case could have and does not name: what that means, how to add
    it. Nothing of companions themselves, nor of volumes: none that comes along is for these."""
    manifest = model.manifest
    if manifest.task not in ("classification", "multi-label") or manifest.input.kind != "planar":
        return
    for role, words in ROLES.items():
        if role not in manifest.companions and words.without:
            yield f"without a companion {role}: {words.without}; {words.add}"
