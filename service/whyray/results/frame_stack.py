"""Answers about the frames of one multi-frame instance, brought together: one image, and their maps stacked.

Each frame is answered, explained and judged by itself. Here its maps, segments and structures are stacked with those of
the other frames, so that one object can hold them with references to the frames that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.frame_array import one_after_the_other
from whyray.config import Audience
from whyray.imaging import SourceImage
from whyray.results.answer import Answer, Finding, GradedExplanation, MapInSource, StructureInSource, is_for

Name = tuple[str, ...]
"""What a map, or another explanation, of one frame has in common with those of other frames."""
SEVERITY = ("green", "amber", "red")
"""Grades, the worst last."""


@dataclass(frozen=True)
class StackedMap:
    """The maps of one target by one method, of all frames on which they may be shown.

    Attributes
    ----------
    name
        What tells it from other stacked maps of the same frames.
    finding
        Of the frame with the clearest answer.
    map
        (frames, rows, columns) over the frames at `places`; its card is the worst of theirs.
    frames
        Finding and map of each frame, in the same order.
    places
        Indices into the answers.
    """

    name: Name
    finding: Finding
    map: MapInSource
    frames: tuple[tuple[Finding, MapInSource], ...]
    places: tuple[int, ...]


def frame_number(answer: Answer) -> int:
    """Of the one frame that the answer is about, as in Referenced Frame Number (0008,1160)."""
    return answer.image.frames[0].frame_number


def is_explained(answer: Answer) -> bool:
    """Whether its frame is among those that are explained."""
    return answer.frames_explained is None or frame_number(answer) in answer.frames_explained.numbers


def by_instance(answers: Sequence[Answer]) -> list[list[Answer]]:
    """Answers about frames of one multi-frame instance together, in frame order; every other answer by itself."""
    groups: dict[str | int, list[Answer]] = {}
    for index, answer in enumerate(answers):
        groups.setdefault(answer.image.multi_frame_instance or index, []).append(answer)
    return [sorted(group, key=frame_number) for group in groups.values()]


def over_frames(answers: Sequence[Answer]) -> Answer:
    """One answer about all of these frames: of each target, the finding of the frame where it is clearest, unexplained.

    Its image has the frames' geometry and headers, which is all that objects refer to, and no pixels: they are NaN.
    """
    findings = []
    for index in range(len(answers[0].findings)):
        finding = _clearest([answer.findings[index] for answer in answers])
        findings.append(replace(finding, maps=(), typed=(), refused={}, mask=None))
    return replace(answers[0], image=image_of_frames(answers), findings=tuple(findings))


def image_of_frames(answers: Sequence[Answer]) -> SourceImage:
    """The frames of these answers as one image, in their order: geometry and headers, without pixels."""
    first = answers[0].image
    shape = (len(answers), *first.shape[1:])
    without_pixels = np.broadcast_to(np.float32(np.nan), shape)
    return replace(
        first,
        frames=tuple(frame for answer in answers for frame in answer.image.frames),
        modality=without_pixels,
        display=without_pixels,
        padding=np.broadcast_to(np.False_, shape),
        notes=tuple(dict.fromkeys(note for answer in answers for note in answer.image.notes)),
    )


def clearness(finding: Finding) -> tuple[bool, float]:
    """How clear the answer is among those about one target: present before absent, then by its number."""
    number = finding.value if finding.probability is None else finding.probability
    return finding.is_sought, float("-inf") if number is None else number


def _clearest(findings: Sequence[Finding]) -> Finding:
    return max(findings, key=clearness)


def named_maps(answer: Answer) -> Iterator[tuple[Name, Finding, MapInSource]]:
    """All maps of an answer, withheld ones too, with their names.

    Parameters are no part of the name: a method may note in them what it took from the image.
    """
    for finding in answer.findings:
        seen: dict[Name, int] = {}
        for heatmap in finding.maps:
            name = (finding.target.name, heatmap.method, heatmap.part or "")
            seen[name] = seen.get(name, 0) + 1
            yield (*name, *([str(seen[name])] if seen[name] > 1 else [])), finding, heatmap


def named_typed(answer: Answer) -> Iterator[tuple[Name, Finding, GradedExplanation]]:
    """All explanations of an answer that are not heatmaps, withheld ones too, with their names."""
    for finding in answer.findings:
        seen: dict[Name, int] = {}
        for graded in finding.typed:
            name = (finding.target.name, graded.method)
            seen[name] = seen.get(name, 0) + 1
            yield (*name, *([str(seen[name])] if seen[name] > 1 else [])), finding, graded


def stacked_maps(answers: Sequence[Answer], audience: Audience) -> list[StackedMap]:
    """The maps that these readers are shown, stacked over the frames; by target in the package's order, then as they
    come."""
    shown: dict[Name, list[tuple[int, Finding, MapInSource]]] = {}
    for place, answer in enumerate(answers):
        for name, finding, heatmap in named_maps(answer):
            if not heatmap.card.withheld and is_for(heatmap, audience):
                shown.setdefault(name, []).append((place, finding, heatmap))
    order = [finding.target.name for answer in answers[:1] for finding in answer.findings]
    names = sorted(shown, key=lambda name: order.index(name[0]))
    return [_stacked(name, shown[name]) for name in names]


def _stacked(name: Name, shown: Sequence[tuple[int, Finding, MapInSource]]) -> StackedMap:
    maps = [heatmap for _, _, heatmap in shown]
    salient = [heatmap for heatmap in maps if heatmap.region.any()] or maps
    stack = replace(
        maps[0],
        values=one_after_the_other([heatmap.values for heatmap in maps]),
        covered=one_after_the_other([heatmap.covered for heatmap in maps]),
        region=one_after_the_other([heatmap.region for heatmap in maps]),
        region_rule=salient[0].region_rule,
        card=max((heatmap.card for heatmap in maps), key=lambda card: SEVERITY.index(card.grade.value)),
        parameters=_parameters(maps),
        on_grid=_on_one_grid(maps),
        strengths=None,
        extremes=None,
        checksums=None,
    )
    finding = _clearest([finding for _, finding, _ in shown])
    return StackedMap(
        name=name,
        finding=replace(finding, maps=(stack,), typed=(), mask=None),
        map=stack,
        frames=tuple((finding, heatmap) for _, finding, heatmap in shown),
        places=tuple(place for place, _, _ in shown),
    )


def _on_one_grid(maps: Sequence[MapInSource]) -> FloatArray | None:
    """The maps of all frames on the grid of the first; None where they have none, or not the same."""
    first, on_grid = maps[0].grid, [heatmap.on_grid for heatmap in maps if heatmap.on_grid is not None]
    alike = first is not None and all(
        heatmap.grid is not None and np.array_equal(heatmap.grid.to_reference, first.to_reference) for heatmap in maps
    )
    if not alike or len(on_grid) < len(maps) or len({one.shape for one in on_grid}) > 1:
        return None
    return np.concatenate(on_grid)


def _parameters(maps: Sequence[MapInSource]) -> dict[str, object]:
    """Those in force on all frames; what a method took from each image by itself is said to differ."""
    return {
        name: value if all(heatmap.parameters.get(name) == value for heatmap in maps) else "differs by frame"
        for name, value in maps[0].parameters.items()
    }


def stacked_masks(answers: Sequence[Answer]) -> dict[str, tuple[Finding, tuple[int, ...]]]:
    """{target: its finding with the segments of the frames stacked, the places of these frames}."""
    masks: dict[str, list[tuple[int, Finding]]] = {}
    for place, answer in enumerate(answers):
        for finding in answer.findings:
            if finding.mask is not None:
                masks.setdefault(finding.target.name, []).append((place, finding))
    made = {}
    for name, parts in masks.items():
        mask = one_after_the_other([finding.mask for _, finding in parts if finding.mask is not None])
        clearest = _clearest([finding for _, finding in parts])
        made[name] = replace(clearest, mask=mask), tuple(place for place, _ in parts)
    return made


def stacked_structures(
    answers: Sequence[Answer],
) -> tuple[list[tuple[Finding, GradedExplanation]], dict[str, tuple[int, ...]]]:
    """Explanations that may be shown with their structures stacked over the frames, and the places of each structure.

    A structure that several explanations used is that of the first of them on each frame, as on a single image.
    """
    parts: dict[str, dict[int, StructureInSource]] = {}
    owners: dict[str, tuple[Finding, GradedExplanation]] = {}
    for place, answer in enumerate(answers):
        for _, finding, graded in named_typed(answer):
            for structure in () if graded.card.withheld else graded.structures:
                parts.setdefault(structure.name, {}).setdefault(place, structure)
                owners.setdefault(structure.name, (finding, graded))
    made = []
    for name, by_place in parts.items():
        finding, graded = owners[name]
        first = next(iter(by_place.values()))
        stack = replace(first, mask=one_after_the_other([structure.mask for structure in by_place.values()]))
        made.append((finding, replace(graded, structures=(stack,))))
    return made, {name: tuple(by_place) for name, by_place in parts.items()}
