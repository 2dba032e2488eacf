"""The first page as an object: of an image alone, of the frames of an instance, or of a study of several images."""

from __future__ import annotations

from collections.abc import Sequence

from whyray.results.answer import Answer, Result, no_statement
from whyray.results.frame_stack import clearness, is_explained
from whyray.results.page import Page, Summarised
from whyray.results.secondary_capture import picture_of, secondary_capture
from whyray.results.series import SEPARATOR
from whyray.results.templates import Templates
from whyray.results.uids import UidSource

NO_STATEMENT = "no statement: unlike the images that the package was made for"
"""Description of the page of an image that nothing is said of."""
SUMMARY = "what was found"
"""Description of the first page."""


def summary_capture(answer: Answer, templates: Templates, uids: UidSource, page: Page) -> Result:
    """The first page as the first object of its series."""
    name = NO_STATEMENT if no_statement(answer) else SUMMARY
    dataset = secondary_capture(
        answer,
        templates,
        uids,
        [page],
        key=["summary"],
        instance_number=1,
        description=f"AI Summary {SEPARATOR} {name}",
    )
    return Result("sc", dataset, None, None, name, picture_of(dataset), page="summary")


def frames_summarised(whole: Answer, answers: Sequence[Answer]) -> list[Summarised]:
    """Of each finding of `whole`, the frame where it is clearest: an explained one, where one is."""
    explained = [answer for answer in answers if is_explained(answer)] or answers
    best = []
    for index in range(len(whole.findings)):
        clearest = max(explained, key=lambda answer: clearness(answer.findings[index]))
        best.append(Summarised(clearest, clearest.findings[index]))
    return best
