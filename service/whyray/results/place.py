"""Where something lies, in a radiologist's words: by anatomy where it is known, else by the parts of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from whyray.base.arrays import BoolArray
from whyray.base.frame_array import Frames, any_along_frames, counts_of
from whyray.explain import RegionShares
from whyray.imaging import SourceImage, frame_orientation
from whyray.results.answer import Answer, Finding, StructureInSource
from whyray.results.page_words import PlaceWords
from whyray.results.remembered import Remembered
from whyray.results.side import is_breast, side_of
from whyray.results.study_images import view_of
from whyray.results.wording import Wording

_PART = 0.1
"""Share of a region from which on a part that lies by itself is named."""
_NAMED_TOO = 0.3
"""Share of a part from which on a structure is named."""
_MOST_NAMED = 3
_ONE_SIDE = 0.75
"""Share from which on a region lies on one side."""
_FROM_ABOVE = frozenset({"CC", "XCCL", "XCCM", "FB"})
"""Views of a breast along the body: from above, or from below."""

_places: Remembered[str] = Remembered(32)
"""A finding's page and the first page say the same."""


def place_in_words(answer: Answer, finding: Finding, region: Frames[np.bool_], wording: Wording) -> str:
    """Where a region lies: 'right lower zone and left lower zone', or 'patient's left, upper third of the image'.

    Sides are the patient's where anatomy or the image's orientation tells them. Empty of an empty region.

    Parameters
    ----------
    region
        (frames, rows, columns) of the source.
    """
    return _places.of((answer, finding, region, wording), None, lambda: _place(answer, finding, region, wording))


def _place(answer: Answer, finding: Finding, region: Frames[np.bool_], wording: Wording) -> str:
    if not region.any():
        return ""
    structures = _structures(answer, finding)
    if structures:
        box = _box_of(region)  # a region is small beside a radiograph
        masks = [(structure.name, _inside(structure.mask, box)) for structure in structures]
        inside = _inside(region, box)
        within = np.logical_or.reduce([mask for _, mask in masks])
        if np.count_nonzero(inside & within) * 2 >= np.count_nonzero(inside):
            return _by_anatomy(masks, inside, wording)
        return wording.pages.place.outside.format(place=_by_image(answer, region, wording.pages.place))
    return _by_image(answer, region, wording.pages.place)


def _structures(answer: Answer, finding: Finding) -> Sequence[StructureInSource]:
    """The anatomy of the image; else that of an explanation by anatomy."""
    if answer.anatomy:
        return answer.anatomy
    return next(
        (
            graded.structures
            for graded in finding.typed
            if isinstance(graded.explanation, RegionShares) and not graded.card.withheld
        ),
        (),
    )


Box = tuple[slice, slice, slice]


def _box_of(region: Frames[np.bool_]) -> Box:
    """The frames, rows and columns in which a region, which is not empty, lies."""
    flat = any_along_frames(region)
    places = [np.flatnonzero(occupied) for occupied in (counts_of(region), flat.any(axis=1), flat.any(axis=0))]
    frames, rows, columns = (slice(int(place[0]), int(place[-1]) + 1) for place in places)
    return frames, rows, columns


def _inside(mask: Frames[np.bool_], box: Box) -> BoolArray:
    frames = range(len(mask))[box[0]]
    return np.stack([mask[index][box[1:]] for index in frames])


def _by_anatomy(masks: Sequence[tuple[str, BoolArray]], region: BoolArray, wording: Wording) -> str:
    """The structures in which the parts of the region lie, the largest part first, each by its own: of two parts on
    either side both are named, however different their sizes."""
    labels, count = ndimage.label(region, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(labels)
    names: list[str] = []
    for part in np.argsort(-sizes, kind="stable"):
        if sizes[part] < _PART * sizes.sum() or len(names) >= _MOST_NAMED:
            break
        box = boxes[part]
        inside = labels[box] == part + 1
        # counted, and not added up as `sum` does of what is true: a tenth of the time
        shares = sorted(
            ((float(np.count_nonzero(inside & mask[box])) / sizes[part], name) for name, mask in masks), reverse=True
        )
        names += [name for share, name in shares if share >= _NAMED_TOO] or [shares[0][1]]
    written = [wording.regions.names.get(name, name) for name in dict.fromkeys(names)][:_MOST_NAMED]
    first, last = wording.listed(written[:-1]), written[-1]
    return wording.pages.place.both.format(first=first, second=last) if first else last


def _by_image(answer: Answer, region: Frames[np.bool_], words: PlaceWords) -> str:
    image = answer.image
    flat = any_along_frames(region)
    thirds = [int(part.sum()) for part in np.array_split(flat, 3, axis=0)]
    middle = flat.shape[1] // 2
    first_share = float(flat[:, :middle].sum()) / float(flat.sum())
    frame = image.frames[0]
    orientation = frame_orientation(frame, image.headers[frame.sop_instance_uid]) or ("", "")
    third = _thirds(image, orientation[1], words)[int(np.argmax(thirds))]
    halves = _halves(orientation[0][:1], words)
    half = halves[0] if first_share >= _ONE_SIDE else halves[2] if first_share <= 1 - _ONE_SIDE else halves[1]
    place = words.side_and_third.format(side=half, third=third) if half else third
    if image.kind == "planar":
        return place
    slices, total = np.flatnonzero(counts_of(region)) + 1, len(region)
    first, last = int(slices[0]), int(slices[-1])
    if first == last:
        return words.side_and_third.format(side=words.one_slice.format(number=first, total=total), third=place)
    return words.side_and_third.format(side=words.slices.format(first=first, last=last, total=total), third=place)


def _halves(towards: str, words: PlaceWords) -> tuple[str, str, str]:
    """What lies in the first columns, in all and in the last ones of rows that run towards a letter of C.7.6.1.1.1.

    The middle one is empty where there is no word for it.
    """
    named = {
        "L": (words.patient_right, words.across, words.patient_left),
        "P": (words.anterior_half, "", words.posterior_half),
        "F": (words.upper_half, "", words.lower_half),
    }
    if towards in named:
        return named[towards]
    other = {"R": "L", "A": "P", "H": "F"}.get(towards)
    return (words.left, words.across, words.right) if other is None else _from_the_other_end(named[other])


def _thirds(image: SourceImage, towards: str, words: PlaceWords) -> tuple[str, str, str]:
    """What the thirds of columns that run towards some letters are called, from the first rows to the last.

    Of a breast, lateral and medial where it is seen from above, upper and lower where it is seen from the side, however
    far the view is turned.
    """
    side = side_of(image) if is_breast(image) else ""
    letters = towards
    if side:
        preferred = "LR" if view_of(image.header) in _FROM_ABOVE else "HF"
        letters = "".join(sorted(towards, key=lambda letter: letter not in preferred))
    named = {
        "F": (words.upper, words.middle, words.lower),
        "P": (words.anterior, words.middle, words.posterior),
        "L": (words.right_third, words.middle, words.left_third),
    }
    if side:
        lateral, medial = words.lateral, words.medial
        named["L"] = (lateral, words.middle, medial) if side == "R" else (medial, words.middle, lateral)
    if letters[:1] in named:
        return named[letters[:1]]
    other = {"H": "F", "A": "P", "R": "L"}.get(letters[:1])
    return named["F"] if other is None else _from_the_other_end(named[other])


def _from_the_other_end(words: tuple[str, str, str]) -> tuple[str, str, str]:
    """The same, from the other end."""
    return words[2], words[1], words[0]
