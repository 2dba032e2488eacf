"""Whether an image is one that a package was made for: by its header, and by how it looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset

from whyray.base.statistics import evenly_spread
from whyray.explain import Context, ExplainedImage, Structure, displayed
from whyray.imaging import ModelInput, SourceImage, grid_directions, group_item, magnification, to_model
from whyray.packages import InputSpec, ScopeSpec
from whyray.quality import Grade, Measurement, ScopeCheck, ScopeReason, check_scope
from whyray.results import BREAST_VIEWS, is_implant_displaced, modified_view, view_of

MOST_CHECKED = 16
"""Frames of a multi-frame instance that are compared with ordinary images, evenly apart."""
BODY_PARTS = frozenset(
    """
    ABDOMEN ABDOMENPELVIS ANKLE ANTECUBITALFOSSA ARM AXILLA BLADDER BRAIN BREAST CALCANEUS CALF CERVIX CHEST
    CHESTABDOMEN CHESTABDPELVIS CLAVICLE COCCYX COLON CSPINE ELBOW EXTREMITY EYE FACE FEMUR FIBULA FINGER FOOT
    FOREARM HAND HEAD HEADNECK HEART HIP HUMERUS JAW KIDNEY KNEE LEG LIVER LSPINE LSSPINE LUNG MANDIBLE MAXILLA NECK
    NOSE ORBIT PANCREAS PAROTID PATELLA PELVIS RADIUS RIB SACRUM SCALP SHOULDER SKULL SPINE SPLEEN SSPINE STERNUM
    STOMACH TESTIS THIGH THORAX THUMB TIBIA TOE TSPINE ULNA UTERUS WRIST ZYGOMA
    """.split()  # noqa: SIM905 - seventy strings, a line each, say no more
)
"""Defined terms of Body Part Examined (0018,0015), PS3.16 annex L. What a site writes otherwise says nothing."""
VIEWS = frozenset({"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LATERAL", "LAT"}) | BREAST_VIEWS
"""Defined terms of View Position (0018,5101), PS3.3 C.8.1.2, what is written instead of LL and RL, and views of a
breast."""
_VIEW_CODES = {
    **dict.fromkeys(("399067008", "R-102CD"), "LATERAL"),
    **dict.fromkeys(("399173006", "R-10236"), "LL"),
    **dict.fromkeys(("399198007", "R-10232"), "RL"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), "PA"),
}
"""PS3.16 CID 4010, in SNOMED CT and as it was coded before, of the views that a header may state."""
_MAGNIFIED = 1.4
"""Magnification from which a breast was not taken on the detector, whatever its view's modifiers say: contact views
have at most 1.2, stands for magnification 1.5 to 2."""
_SOURCE = "PS3.3 C.7.3.1 and C.8.1.2, against the package's model.yaml"


def frames_to_check(frames: int) -> list[int]:
    """Indices of the frames that are checked: all of few, else MOST_CHECKED evenly apart."""
    return [int(place) for place in evenly_spread(frames, MOST_CHECKED)]


def scope_of_frame(
    image: SourceImage, picture: ExplainedImage, model_input: ModelInput, structures: Sequence[Structure] = ()
) -> ScopeCheck:
    """The check of one image: a planar one, a frame, or a volume.

    `picture` and `model_input`: the image as the model takes it. `structures`: anatomy that came with the study.
    """
    manifest = picture.model.manifest
    display = displayed(picture.x, manifest.input)[0]
    context = Context(
        structures=tuple(structures), display=display, valid=model_input.valid, directions=grid_directions(image)
    )

    def prepared(spec: InputSpec) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return to_model(image, spec.model_copy(update={"modalities": ()})).tensor

    return check_scope(picture, prepared, context=context, stated=stated_scope(image, manifest.scope))


def scope_of_instance(checks: Sequence[ScopeCheck]) -> ScopeCheck:
    """Of the checks of its frames: the first refusal where more than half are refused, else the first that passed."""
    refused = [check for check in checks if check.refused]
    passed = [check for check in checks if not check.refused]
    return refused[0] if len(refused) > len(passed) else passed[0]


def stated_scope(image: SourceImage, scope: ScopeSpec) -> list[tuple[Measurement, ScopeReason]]:
    """What the header says against the package: a body part or a view of another kind; nothing where it is silent."""
    header = image.header
    part, view = _body_part(header), _view(header)
    stated: list[tuple[Measurement, ScopeReason]] = []
    if scope.body_parts and part in BODY_PARTS:
        fits = any(word.upper() in part for word in scope.body_parts)
        stated.append((_stated("body part", part, scope.body_parts, fits=fits), "body_part"))
    if scope.views and view in VIEWS:
        taken = modified_view(header) if view in BREAST_VIEWS else view
        if view in BREAST_VIEWS and magnification(header) >= _MAGNIFIED and not taken.startswith("M "):
            taken = f"M {taken}"
        fits = taken in {word.upper() for word in scope.views}
        stated.append((_stated("view", taken, scope.views, fits=fits), "view"))
    implant = _says(header, "BreastImplantPresent") or ("YES" if is_implant_displaced(header) else "")
    if not scope.implants and implant in ("YES", "NO"):
        stated.append((_stated("implant", implant, ("NO",), fits=implant == "NO"), "implant"))
    partial = _says(header, "PartialView")
    if not scope.partial_views and partial in ("YES", "NO"):
        stated.append((_stated("partial view", partial, ("NO",), fits=partial == "NO"), "partial_view"))
    return stated


def _says(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip().upper()


def _body_part(header: Dataset) -> str:
    """Body Part Examined, or where it is empty what the Anatomic Region Sequence (0008,2218) calls the region.

    Multi-frame instances have it in a functional group (C.7.6.16.2.8).
    """
    part = str(header.get("BodyPartExamined") or "").strip() or _coded(header, "AnatomicRegionSequence", "CodeMeaning")
    anatomy = group_item(header, 1, "FrameAnatomySequence")
    if not part and anatomy is not None:
        part = _coded(anatomy, "AnatomicRegionSequence", "CodeMeaning")
    return part.upper().replace(" ", "").replace("_", "")


def _view(header: Dataset) -> str:
    """View Position, or where it is empty the View Code Sequence (0054,0220), which digital X-ray has instead."""
    return view_of(header) or _VIEW_CODES.get(_coded(header, "ViewCodeSequence", "CodeValue"), "")


def _coded(header: Dataset, sequence: str, keyword: str) -> str:
    items = header.get(sequence)
    first = items[0] if isinstance(items, Sequence) and items else None
    return str(first.get(keyword) or "").strip() if isinstance(first, Dataset) else ""


def _stated(what: str, value: str, wanted: Sequence[str], *, fits: bool) -> Measurement:
    grade = Grade.GREEN if fits else Grade.RED
    rule = f"the header says {value}; red unless {', '.join(wanted)}"
    return Measurement(f"stated {what}", "scope", float(fits), 1.0, grade, rule, _SOURCE)
