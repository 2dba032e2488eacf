"""Grayscale Softcopy Presentation States (PS3.3 A.33.1): a region's outline and label on the original images.

The outlines are vectors in pixels of the source, so a viewer shows them at full resolution and can turn them off.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from highdicom.pr import GraphicLayer, GraphicObject, TextObject
from pydicom import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from whyray.base.arrays import BoolArray
from whyray.imaging import SourceFrame
from whyray.quality import Grade
from whyray.results.answer import Answer, Finding, MapInSource
from whyray.results.coding import LONGEST_SHORT_TEXT, one_value
from whyray.results.outlines import outlines
from whyray.results.page.said import name_of
from whyray.results.softcopy import (
    add_grey_transforms,
    add_shutter,
    displayed_area,
    frame_references,
    one_grey_transform,
    referenced_series,
    rescale_of,
    state_dataset,
)
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, map_key
from whyray.results.wording import Wording

SOP_CLASS_UID = GrayscaleSoftcopyPresentationStateStorage
_LAYER = "WHYRAY"


def can_be_outlined(answer: Answer, heatmap: MapInSource) -> bool:
    """Whether there is a region, on monochrome images whose values all go through one modality transform.

    A presentation state holds one modality transform for all of its images; colour images need another SOP class.
    """
    return one_grey_transform(answer.image, [frame for _, frame in _outlined_frames(answer, heatmap)])


def outlined_together(answer: Answer, heatmap: MapInSource) -> list[tuple[int, ...]]:
    """Indices of the frames that hold part of the region, a state each: slices of PET have a slope of their own each.

    What can't be in a state (colour, a Modality LUT) is left out.
    """
    alike: dict[object, list[tuple[int, SourceFrame]]] = {}
    for index, frame in _outlined_frames(answer, heatmap):
        alike.setdefault(rescale_of(answer.image, frame), []).append((index, frame))
    return [
        tuple(index for index, _ in group)
        for group in alike.values()
        if one_grey_transform(answer.image, [frame for _, frame in group])
    ]


def presentation_state(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    finding: Finding,
    heatmap: MapInSource,
    wording: Wording,
    *,
    instance_number: int,
    of_frames: Sequence[tuple[Finding, MapInSource]] | None = None,
    part: str | None = None,
    among: Collection[int] | None = None,
) -> Dataset:
    """The outlines of one map's region on all frames that hold part of it, with a label beside each.

    `of_frames`: finding and map of each frame, where each frame was answered by itself; `part` tells the states of one
    map apart where its frames need several, and `among` are the indices of those of one state.
    """
    made = state_dataset(
        answer,
        templates,
        uids,
        kind="gsps",
        sop_class_uid=SOP_CLASS_UID,
        sop_instance_uid=uids.uid("gsps", finding.target.name, map_key(heatmap), *([] if part is None else [part])),
        instance_number=instance_number,
        label="OUTLINE",
        description=f"{finding.target.name} by {heatmap.method}",
    )
    image = answer.image
    frames = [one for one in _outlined_frames(answer, heatmap) if among is None or one[0] in among]
    shown = [frame for _, frame in frames]
    made.ReferencedSeriesSequence = referenced_series(image, frame_references(image, shown))
    made.DisplayedAreaSelectionSequence = [displayed_area(image, frame_references(image, shown))]
    add_grey_transforms(made, image, shown)
    add_shutter(made, image, shown)
    inverse = str(image.header.PhotometricInterpretation) == "MONOCHROME1"
    made.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    labels = [_label(*one, wording) for one in of_frames or [(finding, heatmap)] * len(image.frames)]
    made.GraphicAnnotationSequence = [
        _annotation(answer, frame, heatmap.region[index], labels[index]) for index, frame in frames
    ]
    made.GraphicLayerSequence = [GraphicLayer(_LAYER, order=1, description=made.ContentDescription)]
    return made


def _outlined_frames(answer: Answer, heatmap: MapInSource) -> list[tuple[int, SourceFrame]]:
    return [(index, frame) for index, frame in enumerate(answer.image.frames) if heatmap.region[index].any()]


def _annotation(answer: Answer, frame: SourceFrame, region: BoolArray, label: str) -> Dataset:
    made = Dataset()
    made.ReferencedImageSequence = frame_references(answer.image, [frame])
    made.GraphicLayer = _LAYER
    curves = outlines(region)
    made.GraphicObjectSequence = [GraphicObject("POLYLINE", np.round(curve, 3), units="PIXEL") for curve in curves]
    points = np.concatenate(curves)
    column, row = points[points[:, 1].argmax()].tolist()
    made.TextObjectSequence = [TextObject(label, units="PIXEL", anchor_point=(column, row), anchor_point_visible=False)]
    return made


def _label(finding: Finding, heatmap: MapInSource, wording: Wording) -> str:
    score = "" if finding.probability is None else f" {wording.numbers.probability(finding.probability)}"
    lines = [f"{name_of(finding, wording)}{score} ({heatmap.method})"]
    if heatmap.card.grade is Grade.AMBER:
        lines.append(wording.low_reliability)
    lines.append(wording.not_for_diagnosis)
    return "\r\n".join(one_value(line, LONGEST_SHORT_TEXT // 4) for line in lines)
