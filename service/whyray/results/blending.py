"""The heatmap in the standard's Hot Iron palette (PS3.6 annex B.1.1): over the original, or alone.

Where the original lies in the patient's space, an Advanced Blending Presentation State (PS3.3 A.33.7) lays the map over
it; the map of an image without position shares no frame of reference with it, and no state may blend the two: then a
Pseudo-Color Softcopy Presentation State (A.33.2) colours the map alone. So it does where slices of the original have
slopes of their own, as in PET: a state has one modality transform for all of them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pydicom.data
from highdicom import ModalityLUTTransformation, PaletteColorLUT, PaletteColorLUTTransformation
from highdicom.pr import AdvancedBlending, BlendingDisplay, BlendingDisplayInput, SoftcopyVOILUTTransformation
from pydicom import Dataset, dcmread
from pydicom.uid import AdvancedBlendingPresentationStateStorage, PseudoColorSoftcopyPresentationStateStorage

from whyray.results.answer import Answer, Finding, MapInSource
from whyray.results.references import add_referenced_series, instance_item
from whyray.results.softcopy import (
    add_grey_transforms,
    displayed_area,
    frame_references,
    one_grey_transform,
    series_item,
    state_dataset,
)
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, map_key

ADVANCED_BLENDING = AdvancedBlendingPresentationStateStorage
PSEUDO_COLOUR = PseudoColorSoftcopyPresentationStateStorage
HOT_IRON = "1.2.840.10008.1.5.1"
_AS_STORED = ModalityLUTTransformation(rescale_intercept=0.0, rescale_slope=1.0, rescale_type="US")


def blending(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    finding: Finding,
    attribution: MapInSource,
    heatmap: Dataset,
    *,
    instance_number: int,
) -> Dataset:
    """The state of one map; `heatmap` is its Parametric Map."""
    over = _can_lie_over(answer)
    shown = f"{finding.target.name} by {attribution.name}" + (", evidence for it" if attribution.signed else "")
    made = state_dataset(
        answer,
        templates,
        uids,
        kind="blend",
        sop_class_uid=ADVANCED_BLENDING if over else PSEUDO_COLOUR,
        sop_instance_uid=uids.uid("blend", finding.target.name, map_key(attribution)),
        instance_number=instance_number,
        label="HEATMAP",
        description=shown,
    )
    if over:
        _lay_over(made, answer, attribution, heatmap, opacity=templates.layout.opacity.top)
    else:
        _colour(made, attribution, heatmap)
    made.ICCProfile = hot_iron().ICCProfile
    return made


@cache
def hot_iron() -> Dataset:
    """The Color Palette object of the standard (PS3.6 annex B.1.1), as pydicom ships it."""
    return dcmread(Path(pydicom.data.__file__).parent / "palettes" / "hotiron.dcm")


def _can_lie_over(answer: Answer) -> bool:
    image = answer.image
    placed = all(frame.to_patient is not None for frame in image.frames)
    return placed and bool(image.header.get("FrameOfReferenceUID")) and one_grey_transform(image, image.frames)


def _lay_over(made: Dataset, answer: Answer, attribution: MapInSource, heatmap: Dataset, *, opacity: float) -> None:
    """Advanced Blending Presentation State (C.11.33) and its display (C.11.34): the original behind the map."""
    image = answer.image
    original, header = BlendingDisplayInput(1), image.header
    original.StudyInstanceUID, original.SeriesInstanceUID = header.StudyInstanceUID, header.SeriesInstanceUID
    original.ReferencedImageSequence = frame_references(image, image.frames)
    add_grey_transforms(original, image, image.frames)
    original.GeometryForDisplay = "TRUE"
    front = AdvancedBlending(
        [heatmap],
        blending_input_number=2,
        modality_lut_transformation=_AS_STORED,
        voi_lut_transformations=[_window(attribution)],
        palette_color_lut_transformation=_palette(),
    )
    front.GeometryForDisplay = "FALSE"
    made.AdvancedBlendingSequence = [original, front]
    made.PixelPresentation = "TRUE_COLOR"
    inputs = [BlendingDisplayInput(2), BlendingDisplayInput(1)]
    made.BlendingDisplaySequence = [BlendingDisplay("FOREGROUND", inputs, relative_opacity=opacity)]
    made.DisplayedAreaSelectionSequence = [displayed_area(image)]
    add_referenced_series(made, image, [heatmap])
    # dciodvfy looks for what the common references belong to at the top level only (General Reference, C.12.4)
    made.ReferencedInstanceSequence = [instance_item(heatmap)]


def _colour(made: Dataset, attribution: MapInSource, heatmap: Dataset) -> None:
    """Pseudo-Color: the palette on the map itself."""
    reference = instance_item(heatmap)
    made.ReferencedSeriesSequence = [series_item(str(heatmap.SeriesInstanceUID), [reference])]
    made.DisplayedAreaSelectionSequence = [_area_of(heatmap)]
    made.update(_AS_STORED)
    made.SoftcopyVOILUTSequence = [_window(attribution)]
    made.update(_palette())


def _area_of(heatmap: Dataset) -> Dataset:
    """All of the map (C.10.4), with its own spacing."""
    made = Dataset()
    made.ReferencedImageSequence = [instance_item(heatmap)]
    made.PixelOriginInterpretation = "FRAME"
    made.DisplayedAreaTopLeftHandCorner = [1, 1]
    made.DisplayedAreaBottomRightHandCorner = [heatmap.Columns, heatmap.Rows]
    made.PresentationSizeMode = "SCALE TO FIT"
    shared, (first, *_) = heatmap.SharedFunctionalGroupsSequence[0], heatmap.PerFrameFunctionalGroupsSequence
    holder = shared if "PixelMeasuresSequence" in shared else first
    made.PresentationPixelSpacing = list(holder.PixelMeasuresSequence[0].PixelSpacing)
    return made


def _window(attribution: MapInSource) -> SoftcopyVOILUTTransformation:
    """From 0 to the highest value, whatever a viewer would take by itself; what speaks against is as dark as nothing.

    The palette goes from black to white, so that a signed map can't be shown in it whole.
    """
    top = attribution.top or attribution.largest or 1.0
    return SoftcopyVOILUTTransformation(window_center=top / 2, window_width=top, voi_lut_function="LINEAR_EXACT")


def _palette() -> PaletteColorLUTTransformation:
    """The Palette Color Lookup Table attributes (C.7.6.3.1.5 and .6), entries of 16 bits as most readers want them."""
    table = hot_iron()
    tables = []
    for colour in ("Red", "Green", "Blue"):
        entries = np.frombuffer(table[f"{colour}PaletteColorLookupTableData"].value, np.uint8).astype("<u2") * 257
        tables.append(PaletteColorLUT(0, entries.astype("<u2"), colour))
    return PaletteColorLUTTransformation(*tables, palette_color_lut_uid=HOT_IRON)
