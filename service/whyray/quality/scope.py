"""Whether an image is one that a package was made for: asked before anything is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from scipy.ndimage import center_of_mass

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import ArtefactMissing, ExplanationError, ModelOutputError, NotFound, PackageError
from whyray.explain import Case, Context, ExplainedImage, Structure
from whyray.explain.anatomy import AnatomyParameters, structures_of
from whyray.explain.latent import (
    Space,
    embedding_name,
    index_of,
    missing,
    percentile,
    required_embedding,
)
from whyray.inference import Model
from whyray.packages import Artefact, InputSpec, find_artefact
from whyray.quality.anatomy import AREAS, implausible
from whyray.quality.card import Grade, Measurement
from whyray.quality.scope_check import (
    ANATOMY,
    BATTERY,
    DISTANCE,
    OWN_REFERENCES,
    PART_OF_GRID,
    POSITION,
    STATED_ORIENTATION,
    ScopeCheck,
    ScopeReason,
)

SCOPE = "scope"
"""Kind of the artefact by which a scope package knows ordinary images."""
MOST_ODD = 1
"""So many structures of implausible size or side are taken for disease; with more, the image shows no such anatomy."""
LEAST_APART = 0.03
"""Share of the grid by which middles of structures lie apart before anything is said of where they lie."""
Judged = tuple[Measurement, ScopeReason | None]
"""A measurement, and what a reader is told where it is red."""


def check_scope(
    image: ExplainedImage,
    prepared: Callable[[InputSpec], FloatArray],
    *,
    context: Context,
    stated: Sequence[Judged] = (),
) -> ScopeCheck:
    """Measure whether the image is one that its model was made for.

    Parameters
    ----------
    image
        The input of the model; its answer and its anatomy, once asked for, are kept for whoever explains it.
    prepared
        The same image as another package's input, in that package's layout.
    context
        What is known beside the image: anatomy of the study, padding.
    stated
        What the header already said, as `whyray.jobs` read it.

    What the package demands (its companion `scope`) and can't be measured is red: no statement without it.
    """
    judged = [
        *stated,
        *_by_companion(image.model, prepared),
        *_by_references(image),
        *_by_anatomy(image, context),
        *_by_parts(image),
    ]
    reasons = [reason for measured, reason in judged if measured.grade is Grade.RED and reason is not None]
    return ScopeCheck(tuple(measured for measured, _ in judged), tuple(dict.fromkeys(reasons)))


# --- the companion that knows how an ordinary image looks ------------------------------------------------------------
@dataclass(frozen=True)
class OrdinaryImages:
    """What a scope package's answers and embeddings are on ordinary images that it did not learn from."""

    space: Space
    odds: FloatArray
    distances: FloatArray

    @classmethod
    def read(cls, model: Model) -> OrdinaryImages:
        """From the artefact `scope` of a scope package; ArtefactMissing without one."""
        artefact = find_artefact(model, SCOPE)
        if artefact is None:
            raise ArtefactMissing(f"{model.identity} has no artefact {SCOPE!r}", advice="Install the package again.")
        return cls.of(artefact)

    @classmethod
    def of(cls, artefact: Artefact) -> OrdinaryImages:
        """PackageError where arrays are missing."""
        arrays, details = artefact.arrays, artefact.facts.details
        wanted = {"mean", "basis", "variances", "odds", "distances"}
        if wanted - set(arrays) or "rest" not in details:
            raise PackageError(f"{artefact.path}: expected the arrays {sorted(wanted)}", advice="Install it again.")
        space = Space(
            mean=arrays["mean"],
            basis=arrays["basis"],
            variances=arrays["variances"],
            rest=float(details["rest"]),
            explained=np.zeros(len(arrays["variances"]), np.float32),
            shrinkage=0.0,
        )
        return cls(space, arrays["odds"], arrays["distances"])


def odds_against(logits: FloatArray) -> FloatArray:
    """(N,): log odds against the first class, that of ordinary images, of logits (N, classes)."""
    others = logits[:, 1:]
    top = others.max(axis=1)
    rest = top + np.log(np.exp(others - top[:, None]).sum(axis=1))
    return np.asarray(rest - logits[:, 0], np.float32)


def _by_companion(model: Model, prepared: Callable[[InputSpec], FloatArray]) -> Iterator[Judged]:
    if "scope" not in model.manifest.companions:
        return
    limit = model.manifest.scope.percentile
    try:
        knower = model.companion("scope", method="the check of the image")
        usual = knower.once((SCOPE, "ordinary"), lambda: OrdinaryImages.read(knower))
        run = knower.session.run(knower.network.checked_input(prepared(knower.manifest.input)))
        vector = required_embedding(knower, run)
    except (ArtefactMissing, ExplanationError, ModelOutputError, NotFound, PackageError) as error:
        yield _unchecked(error)
        return
    odds = float(odds_against(run.logits)[0])
    place = percentile(odds, usual.odds)
    yield _judged(POSITION, place, limit, _seeming(knower, run.logits))
    apart = percentile(float(usual.space.mahalanobis(vector[None])[0]), usual.distances)
    yield _judged(DISTANCE, apart, limit, "far")


def _unchecked(error: Exception) -> Judged:
    rule = f"red: what the package demands could not be measured ({type(error).__name__})"
    return Measurement(POSITION, "scope", 0.0, None, Grade.RED, rule, BATTERY), "unchecked"


def _judged(name: str, value: float, limit: float, reason: ScopeReason) -> Judged:
    rule = f"percentile among ordinary images; red above the {limit:g}th"
    grade = Grade.GREEN if value <= limit else Grade.RED
    return Measurement(name, "scope", value, limit, grade, rule, BATTERY), reason


def _seeming(knower: Model, logits: FloatArray) -> ScopeReason:
    """What the image seems to be, other than an ordinary one."""
    name = knower.targets[1 + int(logits[0, 1:].argmax())]
    known: tuple[ScopeReason, ...] = get_args(ScopeReason)
    return next((reason for reason in known if reason == name), "another")


# --- the package's own references ------------------------------------------------------------------------------------
def _by_references(image: ExplainedImage) -> Iterator[Judged]:
    """Distance from the package's reference index, where it has one (as `latent-position` measures it)."""
    model = image.model
    if embedding_name(model) is None or missing(model, method=SCOPE) is not None:
        return
    index = index_of(model, method=SCOPE)
    name = str(index.details["distance"])
    value = float(index.distances(required_embedding(model, image.run)[None])[name][0])
    widest = float(index.usual[name].max())
    limit = model.manifest.scope.references
    grade = Grade.GREEN if value <= limit * widest else Grade.RED
    rule = f"{name} distance in units of the farthest held-out reference's; red above {limit:g}"
    yield Measurement(OWN_REFERENCES, "scope", value / widest, 1.0, grade, rule, "Lee et al. 2018, section 2"), "far"


# --- anatomy ---------------------------------------------------------------------------------------------------------
def _by_anatomy(image: ExplainedImage, context: Context) -> Iterator[Judged]:
    """Whether lungs, heart and mediastinum are of sizes that they can have, and lie where the header has their sides.

    The study's own are taken at their word but for the sides; without all four of them, the anatomy companion's are.
    """
    if len(image.model.spatial_shape) != 2:
        return
    if set(AREAS) <= {structure.code.value for structure in context.structures if structure.code is not None}:
        yield from orientation_scope(context.structures, context.directions)
        return
    # a study's own structures that are others (one rib) tell nothing of these
    model, context = image.model, replace(context, structures=())
    if "anatomy" not in model.manifest.companions:
        return
    try:
        companion = model.companion("anatomy", method=SCOPE)
        wanted = [
            target for target in companion.manifest.targets if target.code is not None and target.code.value in AREAS
        ]
        if len(wanted) < len(AREAS):
            return
        case = Case(model, image, [0], context=context)
        structures = structures_of(case, AnatomyParameters(), method=SCOPE)
        yield anatomy_scope(structures, context.valid)
        yield from orientation_scope(structures, context.directions)
    except ExplanationError:
        yield anatomy_scope((), context.valid)
    except (ArtefactMissing, NotFound, PackageError):
        return  # a method that needs it says so by name


def _by_parts(image: ExplainedImage) -> Iterator[Judged]:
    """Whether a segmentation's segments fill as much of its grid as they do on images that it was made for."""
    model = image.model
    if not model.manifest.scope.parts or model.task != "segmentation":
        return
    classes = image.run.logits[0].argmax(axis=0)
    for name, (least, most) in model.manifest.scope.parts.items():
        share = float((classes == model.target_index(name)).mean())
        grade = Grade.GREEN if least <= share <= most else Grade.RED
        rule = f"share of the grid that is {name}; red outside {least:.0%} to {most:.0%}"
        yield Measurement(PART_OF_GRID, "scope", share, None, grade, rule, BATTERY), "another"


def anatomy_scope(structures: Sequence[Structure], valid: BoolArray | None) -> Judged:
    """Red where more than MOST_ODD of the four structures are missing or can't be what they are called."""
    odd = implausible(structures, valid)
    present = {structure.code.value for structure in structures if structure.code is not None} & set(AREAS)
    count = len(odd) + len(AREAS) - len(present)
    grade = Grade.GREEN if count <= MOST_ODD else Grade.RED
    rule = f"of lungs, heart and mediastinum, missing or of a size or side that can't be; red above {MOST_ODD}"
    return Measurement(ANATOMY, "scope", float(count), float(MOST_ODD), grade, rule, BATTERY), "anatomy"


def orientation_scope(structures: Sequence[Structure], directions: Sequence[str] | None) -> Iterator[Judged]:
    """Red where the header has the patient's left, or feet, on another side than the structures found have them.

    Letters at the edges, and sides that follow from them, come from the header, names of structures from the picture:
    a page with both would call one lung right and left. `directions` as in `Context`. Nothing where no axis of the
    header runs from side to side or from head to feet (a lateral view has no sides to contradict), where a lung, the
    heart or the mediastinum was not found, or where they lie too near to each other to tell.
    """
    masks: dict[str, BoolArray] = {}
    for structure in structures:
        if structure.code is not None and structure.code.value in AREAS:
            masks[structure.code.value] = (
                masks.get(structure.code.value, np.zeros_like(structure.mask)) | structure.mask
            )
    if directions is None or any(not mask.any() for mask in masks.values()) or len(masks) < len(AREAS):
        return
    sizes = np.array(next(iter(masks.values())).shape)
    right, left, heart, mediastinum = (np.array(center_of_mass(masks[code])) / sizes for code in AREAS)
    ways = [_ways(left - right, directions, "L", "R"), _ways(heart - mediastinum, directions, "F", "H")]
    known = [way for way in ways if way is not None]
    if len(known) < len(ways):
        return
    # lungs that lie one below the other are those of an image on its side, whatever the header says
    contradicts = any(along < -LEAST_APART for along, _ in known) or known[0][1] > max(abs(known[0][0]), LEAST_APART)
    if not contradicts and any(along < LEAST_APART for along, _ in known):
        return
    rule = (
        f"the header says {', '.join(directions)} for down and to the right; red unless the left lung found lies to "
        "the patient's left of the right one, and the heart below the mediastinum"
    )
    grade = Grade.RED if contradicts else Grade.GREEN
    source = "PS3.3 C.7.6.1.1.1, against the anatomy found"
    yield Measurement(STATED_ORIENTATION, "scope", float(not contradicts), 1.0, grade, rule, source), "orientation"


def _ways(way: FloatArray, directions: Sequence[str], towards: str, away: str) -> tuple[float, float] | None:
    """How far a way, in shares of the grid, goes towards a side of the patient, and across; None: no axis runs there.

    Of an oblique axis (`LA`) the first letter counts, which is the nearest side.
    """
    signs = [{towards: 1.0, away: -1.0}.get(letters[:1], 0.0) for letters in directions]
    if sum(map(abs, signs)) != 1:
        return None
    along = sum(float(length) * sign for length, sign in zip(way, signs, strict=True))
    across = max(abs(float(length)) for length, sign in zip(way, signs, strict=True) if not sign)
    return along, across
