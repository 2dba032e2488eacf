"""The first page of a study of several images: each finding once, with what is seen of it on which image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whyray.results.answer import Answer, Finding, by_probability, no_statement
from whyray.results.page.layout import Page
from whyray.results.page.said import is_called, name_of
from whyray.results.page.summary import Summarised, SummaryRow, no_statement_words, place_of, refusals_of, summary_of
from whyray.results.study_images import image_in_words, side_in_words
from whyray.results.template_layout import Layout
from whyray.results.wording import Wording


@dataclass(frozen=True)
class StudyPart:
    """One image of a study, or all frames of an instance: its answer, and where each finding is shown best.

    `shown` is in the order of `answer.findings`; empty of an image that nothing is said of.
    """

    answer: Answer
    shown: tuple[Summarised, ...]


@dataclass(frozen=True)
class StudyFinding:
    """One finding of a study, of one side where its images show both: on each image that shows this side."""

    target: str
    side: str
    on: tuple[tuple[StudyPart, Summarised], ...]

    @property
    def clearest(self) -> Summarised:
        """Where it stands out most."""
        first = by_probability(one.finding for _, one in self.on)[0]
        return next(one for _, one in self.on if one.finding is first)

    @property
    def is_called(self) -> bool:
        """Whether it was found on any of the images."""
        return is_called(self.clearest.finding)


def findings_of_study(parts: Sequence[StudyPart]) -> list[StudyFinding]:
    """What the images of a study say together, in the order of the pages: what was found first, by probability."""
    together: dict[tuple[str, str], list[tuple[StudyPart, Summarised]]] = {}
    for part in parts:
        for one in part.shown:
            together.setdefault((one.finding.target.name, _side(part)), []).append((part, one))
    made = [StudyFinding(target, side, tuple(on)) for (target, side), on in together.items()]
    order: list[Finding] = by_probability(finding.clearest.finding for finding in made)
    return sorted(made, key=lambda finding: next(n for n, one in enumerate(order) if one is finding.clearest.finding))


def study_page(answer: Answer, parts: Sequence[StudyPart], layout: Layout, wording: Wording) -> Page:
    """What was found in a study, a line each, with the images in words; what was not; what nothing is said of.

    Parameters
    ----------
    answer
        What stands at the foot: about all images together.
    parts
        The images, in their order.
    """
    findings = findings_of_study(parts)
    sides = {finding.side for finding in findings}
    called = [_row(finding, wording) for finding in findings if finding.is_called]
    called_targets = {finding.target for finding in findings if finding.is_called}
    absent = [
        _name(finding, wording)
        if len(sides) > 1 and finding.target in called_targets
        else name_of(finding.clearest.finding, wording)
        for finding in findings
        if not finding.is_called
    ]
    refused = [
        (method, reason, image_in_words(part.answer.in_study, wording))
        for part in parts
        for one in part.shown
        for method, reason in refusals_of(one, wording)
    ]
    everywhere = {
        (method, reason)
        for method, reason, _ in refused
        if len({image for *same, image in refused if same == [method, reason]}) == sum(1 for one in parts if one.shown)
    }
    refusals = [
        (method, reason, None if (method, reason) in everywhere else image) for method, reason, image in refused
    ]
    silent = [_silence(part, wording) for part in parts if no_statement(part.answer)]
    return summary_of(answer, called, list(dict.fromkeys(absent)), refusals, silent, layout, wording)


def _row(finding: StudyFinding, wording: Wording) -> SummaryRow:
    seen = tuple(_seen(part, one, finding, wording) for part, one in finding.on)
    return SummaryRow(_name(finding, wording), finding.clearest, seen)


def _seen(part: StudyPart, one: Summarised, finding: StudyFinding, wording: Wording) -> str:
    """What is seen on one image; the image is left unnamed where the finding's side alone tells which it is."""
    words, place = wording.pages.study, part.answer.in_study
    said = (place_of(one, wording) or words.found) if is_called(one.finding) else words.absent
    if len(finding.on) == 1 and finding.side and place is not None and not place.view:
        return said
    return words.on_image.format(image=image_in_words(place, wording, with_side=False), said=said)


def _name(finding: StudyFinding, wording: Wording) -> str:
    name, (part, _) = name_of(finding.clearest.finding, wording), finding.on[0]
    side = side_in_words(part.answer.in_study, wording)
    return wording.pages.study.on_side.format(name=name, side=side) if side else name


def _silence(part: StudyPart, wording: Wording) -> str:
    said = " ".join(no_statement_words(part.answer, wording))
    return wording.pages.study.on_image.format(image=image_in_words(part.answer.in_study, wording), said=said)


def _side(part: StudyPart) -> str:
    return "" if part.answer.in_study is None else part.answer.in_study.side
