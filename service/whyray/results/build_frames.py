"""From the answers about the frames of one multi-frame instance to results that hold them all: one series a kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydicom import Dataset

from whyray.config import ResultKind
from whyray.results.answer import Answer, MapInSource, Result
from whyray.results.blending import blending
from whyray.results.build import CINE_FRAME_TIME, build_results, refuse_unmakeable
from whyray.results.charset import set_character_set
from whyray.results.consistency import refuse_inconsistent
from whyray.results.drawing import Drawing
from whyray.results.encapsulated_pdf import encapsulated_pdf
from whyray.results.frame_pages import PageStack, page_stacks
from whyray.results.frame_stack import (
    Name,
    StackedMap,
    by_instance,
    clearness,
    image_of_frames,
    named_maps,
    named_told,
    over_frames,
    spread,
    stacked_maps,
    stacked_masks,
    stacked_structures,
)
from whyray.results.key_objects import key_objects
from whyray.results.multi_frame import frame_label
from whyray.results.page import legible_wording, on_paper, sheets
from whyray.results.parametric_map import parametric_map
from whyray.results.presentation_state import can_be_outlined, presentation_state
from whyray.results.report import EarlierResult, Evidence, FrameEvidence, report
from whyray.results.report_groups import Explained
from whyray.results.report_told import ShownTold
from whyray.results.secondary_capture import secondary_capture
from whyray.results.segmentation import (
    Segment,
    attribution_segments,
    can_be_label_map,
    mask_segments,
    region_segments,
    segmentation,
    structure_segments,
)
from whyray.results.segmentation_frames import Form
from whyray.results.softcopy import rescale_of
from whyray.results.templates import Layout, SeriesTemplate, Templates, Wording
from whyray.results.uids import map_key, uid_source


def build_run_results(
    answers: Sequence[Answer],
    kinds: Sequence[ResultKind],
    templates: Templates,
    *,
    language: str = "en",
    uid_root: str | None = None,
    previous: Sequence[EarlierResult] = (),
) -> list[Result]:
    """All results of a run: of the frames of one multi-frame instance together, of every other image by itself.

    Parameters and errors as for `build_results`.
    """
    made: list[Result] = []
    for group in by_instance(answers):
        options: dict[str, Any] = {"language": language, "uid_root": uid_root, "previous": previous}
        if len(group) == 1:
            made += build_results(group[0], kinds, templates, **options)
        else:
            made += build_frame_results(group, kinds, templates, **options)
    return made


def build_frame_results(
    answers: Sequence[Answer],
    kinds: Sequence[ResultKind],
    templates: Templates,
    *,
    language: str = "en",
    uid_root: str | None = None,
    previous: Sequence[EarlierResult] = (),
) -> list[Result]:
    """All results about frames of one multi-frame instance: one series a kind, whose objects hold the frames in order.

    A page, a map or a segment is made of the frames that are explained; a frame whose explanation is withheld has a
    page that says so, and no frame in the map. The report has a measurement group of each finding on each frame.
    Parameters and errors as for `build_results`.
    """
    for answer in answers:
        refuse_inconsistent(answer)
    refuse_unmakeable(kinds)
    wording, page_wording = templates.wording(language), legible_wording(templates, language)
    version = f"{language}/{page_wording.language.value}"
    builder = _FrameBuilder(answers, templates, wording, page_wording, version, uid_root)
    made: list[Result] = []
    if "sc" in kinds:
        made += builder.captures()
    if "seg" in kinds:
        made += builder.segmentations()
    if "pm" in kinds:
        made += builder.maps()
    if "sr" in kinds:
        made.append(builder.report(previous))
    if "gsps" in kinds:
        made += builder.presentation_states()
    if "blend" in kinds:
        made += builder.blends()
    if "ko" in kinds:
        made += builder.key_objects()
    if "pdf" in kinds:
        made.append(builder.document())
    for result in made:
        set_character_set(result.dataset, answers[0].image.header)
    return made


class _FrameBuilder:
    """Makes the results of many frames and remembers which frame of which object shows what, for the report."""

    def __init__(
        self,
        answers: Sequence[Answer],
        templates: Templates,
        wording: Wording,
        page_wording: Wording,
        version: str,
        uid_root: str | None,
    ) -> None:
        self.answers = answers
        self.templates = templates
        self.wording = wording
        self.page_wording = page_wording
        self.explained = [answer for answer in answers if _is_explained(answer)]
        self._place = {_number(answer): place for place, answer in enumerate(self.explained)}
        self.whole = over_frames(answers)
        explained = [answer.image.frames[0].frame_number for answer in self.explained]
        uids = uid_source(self.whole, templates.version, version, uid_root)
        self.uids = replace(uids, seed=json.dumps([uids.seed, "frames", explained]))
        self._uids_of_frame = {
            _number(answer): uid_source(answer, templates.version, version, uid_root) for answer in answers
        }
        page = templates.layout.page
        narrow = min(page.width_at_most, templates.layout.frames.width_at_most)
        self.layout = templates.layout.model_copy(update={"page": page.model_copy(update={"width_at_most": narrow})})
        self.drawings = [Drawing(answer, templates, page_wording) for answer in self.explained]
        self.maps_shown = stacked_maps(self.explained)
        self._stacks: list[tuple[PageStack, Dataset]] = []
        self._frames: dict[int, dict[str, int]] = {_number(answer): {} for answer in answers}
        """Frame number of the source → SOP Instance UID of a result → number of its frame."""
        self._cines: dict[tuple[int, Name], Dataset] = {}
        self._regions: dict[tuple[int, Name], tuple[Dataset, int]] = {}
        self._heatmaps: dict[Name, Dataset] = {}
        self._masks: dict[tuple[int, str], tuple[Dataset, int]] = {}
        self._structures: dict[tuple[int, str], tuple[Dataset, int]] = {}

    # --- pages ---------------------------------------------------------------------------------------------------

    def captures(self) -> list[Result]:
        """Pages: one object for each map or other explanation, a page a frame; one for each cine of a frame."""
        stacks, cines = page_stacks(self.drawings, self.layout)
        made: list[Result] = []
        for stack in stacks:
            made.append(self._captured(stack, len(made) + 1))
        for place, drawn in cines:
            answer = self.explained[place]
            label = frame_label(answer.image.frames[0])
            dataset = secondary_capture(
                answer,
                self.templates,
                self.uids,
                drawn.pages,
                key=[drawn.finding.target.name, drawn.key, label],
                instance_number=len(made) + 1,
                description=f"{drawn.description}, {label}",
                multi_frame=len(drawn.pages) > 1,
                frame_time=CINE_FRAME_TIME,
            )
            name = (drawn.finding.target.name, drawn.key.removeprefix("cine "))
            self._cines[_number(answer), name] = dataset
            picture = drawn.pages[0].picture
            made.append(
                Result("sc", dataset, drawn.finding.target.name, drawn.method, f"{drawn.description}, {label}", picture)
            )
        return made

    def _captured(self, stack: PageStack, instance_number: int) -> Result:
        answers = [self.explained[place] for place in stack.places]
        description = f"{stack.description}, {len(stack.pages)} frames"
        pages = stack.pages_of_one_size(self.layout)
        dataset = secondary_capture(
            self._about(answers),
            self.templates,
            self.uids,
            pages,
            key=[stack.about, *stack.name],
            instance_number=instance_number,
            description=description,
            multi_frame=len(stack.pages) > 1,
            labels=[frame_label(answer.image.frames[0]) for answer in answers],
        )
        self._stacks.append((stack, dataset))
        if len(stack.pages) > 1:
            for number, answer in enumerate(answers, start=1):
                self._frames[_number(answer)][str(dataset.SOPInstanceUID)] = number
        return Result(
            "sc",
            dataset,
            stack.finding.target.name,
            stack.method,
            description,
            pages[stack.clearest].picture,
            stack.grade,
        )

    # --- segments ------------------------------------------------------------------------------------------------

    def segmentations(self) -> list[Result]:
        """One object for all salient regions, one for all structures, one for all segments of the package."""
        return [*self._regions_segmented(), *self._structures_segmented(), *self._segments_of_package()]

    def _regions_segmented(self) -> list[Result]:
        if not self.maps_shown:
            return []
        count = len(self.explained)
        shown = [(stack.finding, _spread(stack, count)) for stack in self.maps_shown]
        regions = [
            replace(segment, frames=stack.places)
            for segment, stack in zip(region_segments(self.templates, self.uids, shown), self.maps_shown, strict=True)
        ]
        key = "regions" + str([[*stack.name, map_key(stack.map)] for stack in self.maps_shown])
        dataset = self._segmentation(self.explained, regions, self.templates.series.seg, key, 1)
        for number, stack in enumerate(self.maps_shown, start=1):
            for place in self._referable(regions[number - 1]):
                self._regions[_number(self.explained[place]), stack.name] = (dataset, number)
        names = ", ".join(dict.fromkeys(finding.target.name for finding, _ in shown))
        made = [Result("seg", dataset, None, None, f"salient regions of {names}")]
        if self.templates.layout.segmentation.fractional:
            of_label = {segment.label: segment.frames for segment in regions}
            fractions = [
                replace(segment, frames=of_label[segment.label.removesuffix(" against")])
                for segment in attribution_segments(self.uids, regions, shown)
            ]
            fractional = self._segmentation(
                self.explained, fractions, self.templates.series.seg, key, 2, form="FRACTIONAL"
            )
            made.append(Result("seg", fractional, None, None, f"attribution of {names}"))
        return made

    def _structures_segmented(self) -> list[Result]:
        told, places = stacked_structures(self.explained)
        if not told:
            return []
        count = len(self.explained)
        segments = [
            replace(segment, mask=spread(segment.mask, places[segment.label], count), frames=places[segment.label])
            for segment in structure_segments(self.templates, self.uids, told)
        ]
        names = [segment.label for segment in segments]
        dataset = self._segmentation(self.explained, segments, self.templates.series.segments, f"structures{names}", 2)
        for number, segment in enumerate(segments, start=1):
            for place in self._referable(segment):
                self._structures[_number(self.explained[place]), segment.label] = (dataset, number)
        return [Result("seg", dataset, None, None, "structures " + ", ".join(names))]

    def _segments_of_package(self) -> list[Result]:
        masks = stacked_masks(self.answers)
        if not masks:
            return []
        findings = [
            replace(finding, mask=None if finding.mask is None else spread(finding.mask, places, len(self.answers)))
            for finding, places in masks.values()
        ]
        segments = [
            replace(segment, frames=places)
            for segment, (_, places) in zip(
                mask_segments(self.whole, self.templates, self.uids, findings), masks.values(), strict=True
            )
        ]
        dataset = self._segmentation(
            self.answers, segments, self.templates.series.segments, f"segments{list(masks)}", 1
        )
        for number, (name, segment) in enumerate(zip(masks, segments, strict=True), start=1):
            for place in self._referable(segment):
                self._masks[_number(self.answers[place]), name] = (dataset, number)
        return [Result("seg", dataset, None, None, "segments " + ", ".join(masks))]

    def _segmentation(
        self,
        answers: Sequence[Answer],
        segments: Sequence[Segment],
        series: SeriesTemplate,
        key: str,
        instance_number: int,
        form: Form | None = None,
    ) -> Dataset:
        layout = self.templates.layout.segmentation
        if form is None:
            form = "LABELMAP" if layout.label_maps and can_be_label_map(segments) else "BINARY"
        return segmentation(
            self._about(answers),
            self.templates,
            self.uids,
            segments,
            series=series,
            key=key,
            omit_empty_frames=layout.omit_empty_frames,
            instance_number=instance_number,
            form=form,
        )

    def _referable(self, segment: Segment) -> list[int]:
        """Places of the frames that the segment has in its object."""
        omit = self.templates.layout.segmentation.omit_empty_frames
        return [place for place in segment.frames or () if not omit or segment.mask[place].any()]

    # --- maps, and what refers to them ---------------------------------------------------------------------------

    def maps(self) -> list[Result]:
        """One Parametric Map for each target and method: a frame for each source frame on which it may be shown."""
        made = []
        for number, stack in enumerate(self.maps_shown, start=1):
            answers = [self.explained[place] for place in stack.places]
            dataset = parametric_map(
                self._about(answers), self.templates, self.uids, stack.finding, stack.map, instance_number=number
            )
            self._heatmaps[stack.name] = dataset
            if len(answers) > 1:
                for index, answer in enumerate(answers, start=1):
                    self._frames[_number(answer)][str(dataset.SOPInstanceUID)] = index
            description = f"heatmap of {stack.finding.target.name} by {stack.map.name}, {len(answers)} frames"
            made.append(
                Result(
                    "pm",
                    dataset,
                    stack.finding.target.name,
                    stack.map.method,
                    description,
                    grade=stack.map.card.grade.value,
                )
            )
        return made

    def report(self, previous: Sequence[EarlierResult]) -> Result:
        """The report, which refers to the frames of all results made before it."""
        frames = [
            FrameEvidence(
                answer, self._uids_of_frame[_number(answer)], self._evidence(answer), self._frames[_number(answer)]
            )
            for answer in self.answers
        ]
        made_of = [
            [_number(answer), name, map_key(each)] for answer in self.explained for name, _, each in named_maps(answer)
        ]
        referenced = [str(name) for name in (*self._heatmaps, *self._regions, *self._masks)]
        referenced += [str([stack.about, *stack.name]) for stack, _ in self._stacks]
        dataset = report(
            self.whole,
            self.templates,
            self.uids,
            Evidence(),
            self.wording,
            previous,
            key=str(made_of) + str(referenced),
            of_frames=frames,
        )
        return Result("sr", dataset, None, None, f"report of all findings on {len(self.answers)} frames")

    def _evidence(self, answer: Answer) -> Evidence:
        number = _number(answer)
        masks = {name: place for (frame, name), place in self._masks.items() if frame == number}
        if not _is_explained(answer):
            return Evidence(masks=masks)
        place = self._place[number]
        return Evidence(
            explained=self._explained(answer, place),
            masks=masks,
            notices={
                stack.notices[place]: dataset for stack, dataset in reversed(self._stacks) if place in stack.notices
            },
            told=self._told(answer, place),
        )

    def _explained(self, answer: Answer, place: int) -> dict[str, list[Explained]]:
        number, explained = _number(answer), dict[str, list[Explained]]()
        for name, finding, each in named_maps(answer):
            if not each.card.withheld:
                pages = self._pages("map", name, place)
                one = Explained(each, self._heatmaps.get(name), self._regions.get((number, name)), pages)
                explained.setdefault(finding.target.name, []).append(one)
        return explained

    def _told(self, answer: Answer, place: int) -> dict[str, list[ShownTold]]:
        number, told = _number(answer), dict[str, list[ShownTold]]()
        for name, finding, one in named_told(answer):
            if one.card.withheld:
                continue
            pages = self._pages("told", name, place)
            pages += tuple(dataset for (frame, of), dataset in self._cines.items() if frame == number and of == name)
            used = {
                structure.name: self._structures[number, structure.name]
                for structure in one.structures
                if (number, structure.name) in self._structures
            }
            portrayal = self.drawings[place].portrayal(finding, one, self.wording, self.layout)
            told.setdefault(finding.target.name, []).append(ShownTold(one, portrayal, pages, used))
        return told

    def _pages(self, about: str, name: Name, place: int) -> tuple[Dataset, ...]:
        return tuple(
            dataset
            for stack, dataset in self._stacks
            if (stack.about, stack.name) == (about, name) and place in stack.places and place not in stack.notices
        )

    def presentation_states(self) -> list[Result]:
        """Outlines on the frames, one state a map; several where frames go through different modality transforms."""
        made: list[Result] = []
        for stack in self.maps_shown:
            parts: dict[object, list[int]] = {}
            for index, place in enumerate(stack.places):
                image = self.explained[place].image
                if stack.map.region[index].any():
                    parts.setdefault(rescale_of(image, image.frames[0]), []).append(index)
            for part, indices in enumerate(parts.values()):
                about = self._about([self.explained[stack.places[index]] for index in indices])
                outlined = _of_frames(stack.map, indices)
                if not can_be_outlined(about, outlined):
                    continue
                dataset = presentation_state(
                    about,
                    self.templates,
                    self.uids,
                    stack.finding,
                    outlined,
                    self.wording,
                    instance_number=len(made) + 1,
                    of_frames=[stack.frames[index] for index in indices],
                    part=str(part) if part else None,
                )
                description = f"outline of {stack.finding.target.name} by {stack.map.method}, {len(indices)} frames"
                made.append(
                    Result(
                        "gsps",
                        dataset,
                        stack.finding.target.name,
                        stack.map.method,
                        description,
                        grade=stack.map.card.grade.value,
                    )
                )
        return made

    def blends(self) -> list[Result]:
        """Each stacked map in colour."""
        made = []
        for number, stack in enumerate(self.maps_shown, start=1):
            dataset = blending(
                self._about([self.explained[place] for place in stack.places]),
                self.templates,
                self.uids,
                stack.finding,
                stack.map,
                self._heatmaps[stack.name],
                instance_number=number,
            )
            description = f"heatmap of {stack.finding.target.name} by {stack.map.name} in colour"
            made.append(
                Result(
                    "blend",
                    dataset,
                    stack.finding.target.name,
                    stack.map.method,
                    description,
                    grade=stack.map.card.grade.value,
                )
            )
        return made

    def key_objects(self) -> list[Result]:
        """The frames on which each map may be shown, the clearest answer first, with its pages where they are made."""
        made = []
        for number, stack in enumerate(self.maps_shown, start=1):
            clear = [clearness(finding) for finding, _ in stack.frames]
            order = sorted(range(len(clear)), key=clear.__getitem__, reverse=True)
            pages = [dataset for one, dataset in self._stacks if (one.about, one.name) == ("map", stack.name)]
            dataset = key_objects(
                self._about([self.explained[stack.places[index]] for index in order]),
                self.templates,
                self.uids,
                stack.finding,
                stack.map,
                self.wording,
                pages,
                instance_number=number,
            )
            description = f"key frames of {stack.finding.target.name} by {stack.map.method}"
            made.append(
                Result(
                    "ko",
                    dataset,
                    stack.finding.target.name,
                    stack.map.method,
                    description,
                    grade=stack.map.card.grade.value,
                )
            )
        return made

    def document(self) -> Result:
        """The printable report: an overview of the clearest answers, then the pages of the explained frames."""
        layout: Layout = on_paper(self.layout)
        drawn = [one for drawing in self.drawings for one in drawing.drawn(layout)]
        printed = (page for one in drawn if not one.series_of_pages for page in one.pages)
        pictures = sheets(self.whole, printed, layout, self.page_wording)
        made_of = [[_number(answer), *(finding.present for finding in answer.findings)] for answer in self.answers]
        key = str(made_of) + str([[one.finding.target.name, one.key] for one in drawn])
        dataset = encapsulated_pdf(self.whole, self.templates, self.uids, pictures, self.page_wording, key=key)
        return Result("pdf", dataset, None, None, "printable report of all findings")

    def _about(self, answers: Sequence[Answer]) -> Answer:
        return replace(self.whole, image=image_of_frames(answers))


def _number(answer: Answer) -> int:
    return answer.image.frames[0].frame_number


def _is_explained(answer: Answer) -> bool:
    return answer.frames_explained is None or _number(answer) in answer.frames_explained.numbers


def _spread(stack: StackedMap, count: int) -> MapInSource:
    return replace(
        stack.map,
        values=spread(stack.map.values, stack.places, count),
        covered=spread(stack.map.covered, stack.places, count),
        region=spread(stack.map.region, stack.places, count),
    )


def _of_frames(stack: MapInSource, indices: Sequence[int]) -> MapInSource:
    kept = list(indices)
    return replace(stack, values=stack.values[kept], covered=stack.covered[kept], region=stack.region[kept])
