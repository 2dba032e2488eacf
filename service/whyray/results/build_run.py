"""From the answers of a run to its results: of each study one first page, then the pages of all its images in order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
from pydicom import Dataset

from whyray.base.failures import activity
from whyray.config import Audience, ResultKind
from whyray.imaging import SourceImage
from whyray.results.answer import Answer, ImageInStudy, Result, no_statement
from whyray.results.build import build_results
from whyray.results.build_frames import build_frame_results
from whyray.results.charset import set_character_set
from whyray.results.fingerprint import fingerprint
from whyray.results.frame_stack import by_instance, clearness, over_frames
from whyray.results.header import laterality
from whyray.results.kinds import Drawn, Finished
from whyray.results.page import StudyPart, Summarised, findings_of_study, legible_wording, study_page
from whyray.results.report import EarlierResult
from whyray.results.series import series_description
from whyray.results.study_images import images_in_study
from whyray.results.summary_capture import frames_summarised, summary_capture
from whyray.results.templates import Templates
from whyray.results.uids import uid_source

_LAST = {"compared": 1, "details": 2}
"""Pages that stand behind those of all findings."""


class _Options(TypedDict):
    language: str
    uid_root: str | None
    previous: Sequence[EarlierResult]
    audience: Audience
    drawn: Drawn


def build_run_results(
    answers: Sequence[Answer],
    kinds: Sequence[ResultKind],
    templates: Templates,
    *,
    language: str = "en",
    uid_root: str | None = None,
    previous: Sequence[EarlierResult] = (),
    audience: Audience = "radiologist",
) -> list[Result]:
    """All results of a run: of the frames of one multi-frame instance together, of every other image by itself.

    Parameters and errors as for `build_results`.
    """
    options = _Options(language=language, uid_root=uid_root, previous=previous, audience=audience, drawn=lambda _: None)
    return [result for _, results in grouped_results(answers, kinds, templates, **options) for result in results]


def grouped_results(
    answers: Sequence[Answer],
    kinds: Sequence[ResultKind],
    templates: Templates,
    *,
    language: str = "en",
    uid_root: str | None = None,
    previous: Sequence[EarlierResult] = (),
    audience: Audience = "radiologist",
    drawn: Drawn = lambda _: None,
    finished: Finished = lambda _: None,
) -> Iterator[tuple[list[Answer], list[Result]]]:
    """The results of a run, each time with the answers that they are about: one, or those of an instance's frames.

    A study of several images has one first page, among the results of its first image, and its pages are numbered over
    all images: finding by finding, the most probable first, then those with every measurement. Parameters and errors as
    for `build_results`; `finished` is told of the results of a study with one image of one frame, or a volume.
    """
    options = _Options(language=language, uid_root=uid_root, previous=previous, audience=audience, drawn=drawn)
    studies: dict[str, list[Answer]] = {}
    for answer in answers:
        studies.setdefault(str(answer.image.header.StudyInstanceUID), []).append(answer)
    for study in studies.values():
        groups = by_instance(study)
        if len(groups) == 1:
            yield groups[0], _results_of(groups[0], kinds, templates, options, None, finished)
        else:
            yield from _Study(groups, templates, options).results(kinds)


def _results_of(
    group: Sequence[Answer],
    kinds: Sequence[ResultKind],
    templates: Templates,
    options: _Options,
    run: str | None,
    finished: Finished = lambda _: None,
) -> list[Result]:
    if len(group) == 1:
        return build_results(group[0], kinds, templates, **options, run=run, finished=finished)
    if no_statement(group[0]):  # of all frames together: jobs decide on instances, not on frames
        return build_results(over_frames(group), kinds, templates, **options, run=run)
    return build_frame_results(group, kinds, templates, **options, run=run)


@dataclass(frozen=True)
class _Group:
    """One image, or the frames of an instance: the answers as they were given, and knowing their place in the study."""

    given: list[Answer]
    placed: list[Answer]

    @property
    def part(self) -> StudyPart:
        """What the first page says of it."""
        if no_statement(self.placed[0]):
            return StudyPart(self.placed[0], ())
        if len(self.placed) == 1:
            answer = self.placed[0]
            return StudyPart(answer, tuple(Summarised(answer, finding) for finding in answer.findings))
        whole = over_frames(self.placed)
        return StudyPart(whole, tuple(frames_summarised(whole, self.placed)))


class _Study:
    """The images of one study that one package answered about."""

    def __init__(self, groups: Sequence[list[Answer]], templates: Templates, options: _Options) -> None:
        places = images_in_study([group[0].image for group in groups])
        self._groups = [
            _Group(group, [replace(answer, in_study=place) for answer in group])
            for group, place in zip(groups, places, strict=True)
        ]
        self._templates, self._options = templates, options
        self._parts = [group.part for group in self._groups]
        self._run = fingerprint([fingerprint(answer) for group in groups for answer in group])

    def results(self, kinds: Sequence[ResultKind]) -> Iterator[tuple[list[Answer], list[Result]]]:
        """Of each image in turn; the first page with those of the first."""
        made = [_results_of(group.placed, kinds, self._templates, self._options, self._run) for group in self._groups]
        if "sc" in kinds:
            with activity("making the first page of the study"):
                first = self._summary(kinds)
            self._number(first, made)
            made[0].insert(0, first)
        for group, results in zip(self._groups, made, strict=True):
            yield group.given, [_labelled(result, group.placed[0].in_study) for result in results]

    def _summary(self, kinds: Sequence[ResultKind]) -> Result:
        templates, options = self._templates, self._options
        wording = legible_wording(templates, options["language"])
        about = _over_images([part.answer for part in self._parts])
        version = f"{options['language']}/{wording.language.value}"
        asked = [sorted(kinds), list(options["previous"]), options["audience"]]
        uids = uid_source(about, templates.version, version, options["uid_root"], asked, self._run)
        uids = replace(uids, seed=json.dumps([uids.seed, self._run]))
        result = summary_capture(about, templates, uids, study_page(about, self._parts, templates.layout, wording))
        set_character_set(result.dataset, about.image.header)
        return result

    def _number(self, first: Result, made: Sequence[Sequence[Result]]) -> None:
        """Numbers in reading order, and one description for the series that all pages share."""
        order = [(finding.target, finding.side) for finding in findings_of_study(self._parts)]
        pages = [
            (part.answer.in_study, result)
            for part, results in zip(self._parts, made, strict=True)
            for result in results
            if result.kind == "sc"
        ]

        def place(page: tuple[object, Result]) -> tuple[int, int]:
            where, result = page
            side = getattr(where, "side", "")
            return _LAST.get(result.page or "", 0), order.index((result.finding or "", side))

        for number, (_, result) in enumerate(sorted(pages, key=place), start=2):
            result.dataset.InstanceNumber = number
        about = _over_images([part.answer for part in self._parts])
        described = series_description(about, self._templates.series.sc, "")
        several = len({laterality(part.answer.image.header) for part in self._parts}) > 1
        for dataset in (first.dataset, *(result.dataset for _, result in pages)):
            dataset.SeriesDescription = described
            if several and "Laterality" in dataset:
                _take_side_from_series(dataset, is_of_all=dataset is first.dataset)


def _labelled(result: Result, place: ImageInStudy | None) -> Result:
    """The result, its description with the image that it is about."""
    if place is None or result.page == "summary":
        return result
    return replace(result, description=f"{result.description}, {place.label}")


def _take_side_from_series(dataset: Dataset, *, is_of_all: bool) -> None:
    """Image Laterality (0020,0062) for Laterality, which is one for a series (C.7.3.1)."""
    side = "B" if is_of_all else str(dataset.Laterality or "")
    del dataset.Laterality
    if side:
        dataset.ImageLaterality = side


def _over_images(answers: Sequence[Answer]) -> Answer:
    """One answer about all images of a study: each finding where it is clearest, unexplained.

    Its image names all of them, by geometry and headers, a volume by its first slice, and has no pixels: they are NaN.
    """
    first = answers[0]
    frames = tuple(
        frame
        for answer in answers
        for frame in (answer.image.frames if answer.image.kind == "planar" else answer.image.frames[:1])
    )
    without_pixels = np.broadcast_to(np.float32(np.nan), (len(frames), *first.image.shape[1:]))
    image: SourceImage = replace(
        first.image,
        kind="planar",
        frames=frames,
        headers={uid: header for answer in answers for uid, header in answer.image.headers.items()},
        digests={uid: digest for answer in answers for uid, digest in answer.image.digests.items()},
        modality=without_pixels,
        display=without_pixels,
        padding=np.broadcast_to(np.False_, without_pixels.shape),
        notes=tuple(dict.fromkeys(note for answer in answers for note in answer.image.notes)),
    )
    answered = [answer for answer in answers if not no_statement(answer)]
    findings = []
    for same in zip(*(answer.findings for answer in answered), strict=True):
        clearest = max(same, key=clearness)
        findings.append(replace(clearest, maps=(), typed=(), refused={}, mask=None))
    scope = first.scope if not answered else next((one.scope for one in answered), None)
    return replace(
        first, image=image, findings=tuple(findings), scope=scope, anatomy=(), frames_explained=None, in_study=None
    )
