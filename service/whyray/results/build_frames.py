"""From the answers about the frames of one multi-frame instance to results that hold them all: one series a kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydicom import Dataset

from whyray.base.frame_array import chosen_frames
from whyray.config import Audience, ResultKind
from whyray.results.answer import Answer, MapInSource, Result
from whyray.results.blending import blending
from whyray.results.build import CINE_FRAME_TIME
from whyray.results.consistency import refuse_inconsistent
from whyray.results.drawing import Drawing
from whyray.results.encapsulated_pdf import encapsulated_pdf
from whyray.results.frame_evidence import FrameObjects, explained_first
from whyray.results.frame_pages import PageStack, frame_cines, page_stacks
from whyray.results.frame_segments import FrameSegmentations
from whyray.results.frame_stack import (
    StackedMap,
    clearness,
    frame_number,
    image_of_frames,
    is_explained,
    over_frames,
    stacked_maps,
)
from whyray.results.key_objects import key_objects
from whyray.results.kinds import Drawn, make_kinds, refuse_unmakeable
from whyray.results.multi_frame import frame_label
from whyray.results.page import legible_wording, on_paper, sheets, summary_page
from whyray.results.parametric_map import parametric_map
from whyray.results.presentation_state import can_be_outlined, presentation_state
from whyray.results.report import EarlierResult, Evidence, report
from whyray.results.secondary_capture import secondary_capture
from whyray.results.softcopy import rescale_of
from whyray.results.summary_capture import frames_summarised, summary_capture
from whyray.results.template_layout import Layout
from whyray.results.templates import Templates
from whyray.results.uids import map_keys, typed_key, uid_source
from whyray.results.wording import Wording


def build_frame_results(
    answers: Sequence[Answer],
    kinds: Sequence[ResultKind],
    templates: Templates,
    *,
    language: str = "en",
    uid_root: str | None = None,
    previous: Sequence[EarlierResult] = (),
    audience: Audience = "radiologist",
    run: str | None = None,
    drawn: Drawn = lambda _: None,
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
    options = [sorted(kinds), list(previous), audience, *([] if run is None else [run])]
    builder = _FrameBuilder(answers, templates, wording, page_wording, version, uid_root, options, audience, run)
    return make_kinds(builder, kinds, previous, answers[0].image.header, f"{len(answers)} frames", drawn)


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
        options: Sequence[object],
        audience: Audience,
        run: str | None,
    ) -> None:
        self.answers = answers
        self.templates = templates
        self.wording = wording
        self.page_wording = page_wording
        self.explained = [answer for answer in answers if is_explained(answer)]
        self.whole = over_frames(answers)
        explained = [frame_number(answer) for answer in self.explained]
        self._uids = [uid_source(answer, templates.version, version, uid_root, options) for answer in answers]
        self._run = run
        uids = uid_source(self.whole, templates.version, version, uid_root, options, run)
        self.uids = replace(uids, seed=json.dumps([uids.seed, explained, [one.seed for one in self._uids]]))
        page = templates.layout.page
        narrow = min(page.width_at_most, templates.layout.frames.width_at_most)
        self.layout = templates.layout.model_copy(update={"page": page.model_copy(update={"width_at_most": narrow})})
        self.drawings = [Drawing(answer, templates, page_wording, audience) for answer in self.explained]
        self.maps_shown = stacked_maps(self.explained, audience)
        self.objects = FrameObjects(audience)

    def captures(self) -> list[Result]:
        """Pages: what was found on all frames, unless a run says that; one object for each map or other explanation, a
        page a frame."""
        stacks = page_stacks(self.drawings, self.layout)
        first = [] if self._run else [self._summary()]
        return first + [self._captured(stack, number) for number, stack in enumerate(stacks, start=len(first) + 1)]

    def cines(self) -> list[Result]:
        """The steps of each counterfactual of a frame that has some."""
        made: list[Result] = []
        for cine in frame_cines(self.drawings, self.layout):
            answer, drawn = self.explained[cine.place], cine.drawn
            label = frame_label(answer.image.frames[0])
            dataset = secondary_capture(
                answer,
                self.templates,
                self.uids,
                drawn.pages,
                key=[drawn.finding.target.name, drawn.key, label],
                instance_number=len(made) + 1,
                description=f"{drawn.title}, {label}",
                kind="cine",
                multi_frame=len(drawn.pages) > 1,
                frame_time=CINE_FRAME_TIME,
            )
            self.objects.cines[frame_number(answer), cine.name] = dataset
            made.append(
                Result(
                    "cine",
                    dataset,
                    drawn.finding.target.name,
                    drawn.method,
                    f"{drawn.description}, {label}",
                    drawn.pages[0].picture,
                    cine.grade,
                    "cine",
                )
            )
        return made

    def _summary(self) -> Result:
        shown = frames_summarised(self.whole, self.answers)
        page = summary_page(self.whole, self.layout, self.page_wording, shown_in=shown)
        return summary_capture(self.whole, self.templates, self.uids, page)

    def _captured(self, stack: PageStack, instance_number: int) -> Result:
        answers = [self.explained[place] for place in stack.places]
        description = f"{stack.description}, {_frames_in_words(answers)}"
        pages = stack.pages_of_one_size(self.layout)
        dataset = secondary_capture(
            self._about(answers),
            self.templates,
            self.uids,
            pages,
            key=[stack.about, *stack.name, *stack.keys],
            instance_number=instance_number,
            description=f"{stack.title}, {_frames_in_words(answers)}",
            multi_frame=len(stack.pages) > 1,
            labels=[frame_label(answer.image.frames[0]) for answer in answers],
        )
        self.objects.pages.append((stack, dataset))
        self.objects.enter_frames(dataset, answers)
        return Result(
            "sc",
            dataset,
            stack.finding.target.name,
            stack.method,
            description,
            pages[stack.clearest].picture,
            stack.grade,
            stack.kind,
        )

    def segmentations(self) -> list[Result]:
        """One object for all salient regions, one for all structures, one for all segments of the package."""
        maker = FrameSegmentations(self.answers, self.explained, self.whole, self.templates, self.uids, self.objects)
        return [*maker.regions(self.maps_shown), *maker.structures(), *maker.segments()]

    def maps(self) -> list[Result]:
        """One Parametric Map for each target and method: a frame for each source frame on which it may be shown."""
        made = []
        for number, stack in enumerate(self.maps_shown, start=1):
            answers = [self.explained[place] for place in stack.places]
            dataset = parametric_map(
                self._about(answers), self.templates, self.uids, stack.finding, stack.map, instance_number=number
            )
            self.objects.heatmaps[stack.name] = dataset
            self.objects.enter_frames(dataset, answers)
            description = f"heatmap of {stack.finding.name} by {stack.map.title}, {_frames_in_words(answers)}"
            made.append(_of_map("pm", dataset, stack, description))
        return made

    def report(self, previous: Sequence[EarlierResult]) -> Result:
        """The report, which refers to the frames of all results made before it."""
        frames, explained = [], iter(enumerate(self.drawings))
        for answer, uids in zip(self.answers, self._uids, strict=True):
            if is_explained(answer):
                place, drawing = next(explained)
                frames.append(self.objects.of_explained(answer, uids, place, drawing, self.wording, self.layout))
            else:
                frames.append(self.objects.of_unexplained(answer, uids))
        made_of: list[list[Any]] = [
            [frame_number(answer), finding.target.name, map_keys(finding.maps), sorted(finding.refused)]
            + [typed_key(one) for one in finding.typed]
            for answer in self.explained
            for finding in answer.findings
        ]
        dataset = report(
            self.whole,
            self.templates,
            self.uids,
            Evidence(),
            self.wording,
            previous,
            key=str(made_of) + str(self.objects.names()),
            of_frames=explained_first(frames),
        )
        return Result("sr", dataset, None, None, f"report of all findings on {len(self.answers)} frames")

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
                frames = _frames_in_words([self.explained[stack.places[index]] for index in indices])
                description = f"outline of {stack.finding.name} by {stack.map.title}, {frames}"
                made.append(_of_map("gsps", dataset, stack, description))
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
                self.objects.heatmaps[stack.name],
                instance_number=number,
            )
            description = f"heatmap of {stack.finding.name} by {stack.map.title} in colour"
            made.append(_of_map("blend", dataset, stack, description))
        return made

    def key_objects(self) -> list[Result]:
        """The frames on which each map may be shown, the clearest answer first, with its pages where they are made."""
        made = []
        for number, stack in enumerate(self.maps_shown, start=1):
            clear = [clearness(finding) for finding, _ in stack.frames]
            order = sorted(range(len(clear)), key=clear.__getitem__, reverse=True)
            pages = [dataset for one, dataset in self.objects.pages if (one.about, one.name) == ("map", stack.name)]
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
            description = f"key frames of {stack.finding.name} by {stack.map.title}"
            made.append(_of_map("ko", dataset, stack, description))
        return made

    def document(self) -> Result:
        """The printable report: an overview of the clearest answers, then the pages of the explained frames."""
        layout: Layout = on_paper(self.layout)
        drawn = [one for drawing in self.drawings for one in drawing.drawn(layout)]
        printed = (page for one in drawn for page in one.pages)
        pictures = sheets(
            self.whole, printed, layout, self.page_wording, shown_in=frames_summarised(self.whole, self.answers)
        )
        made_of = [[frame_number(answer), *(finding.present for finding in answer.findings)] for answer in self.answers]
        key = str(made_of) + str([[one.finding.target.name, one.key] for one in drawn])
        dataset = encapsulated_pdf(self.whole, self.templates, self.uids, pictures, self.page_wording, key=key)
        return Result("pdf", dataset, None, None, "printable report of all findings")

    def _about(self, answers: Sequence[Answer]) -> Answer:
        return replace(self.whole, image=image_of_frames(answers))


def _frames_in_words(answers: Sequence[Answer]) -> str:
    return f"{len(answers)} frames" if len(answers) > 1 else frame_label(answers[0].image.frames[0])


def _of_map(kind: ResultKind, dataset: Dataset, stack: StackedMap, description: str) -> Result:
    name, method = stack.finding.target.name, stack.map.method
    return Result(kind, dataset, name, method, description, grade=stack.map.card.grade)


def _of_frames(stack: MapInSource, indices: Sequence[int]) -> MapInSource:
    kept = list(indices)
    on_grid = None if stack.on_grid is None else stack.on_grid[kept]
    return replace(
        stack,
        values=chosen_frames(stack.values, kept),
        covered=chosen_frames(stack.covered, kept),
        region=chosen_frames(stack.region, kept),
        on_grid=on_grid,
        strengths=None,
        extremes=None,
        checksums=None,
    )
