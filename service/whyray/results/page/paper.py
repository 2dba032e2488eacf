"""Pages for paper: in ink on white, with the patient and study named on every sheet, and an overview first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from whyray.base.stages import stage
from whyray.results.answer import Answer
from whyray.results.carried import identity
from whyray.results.header import local_time
from whyray.results.page.layout import Page
from whyray.results.page.overlay import Picture
from whyray.results.page.summary import Summarised, summary_page
from whyray.results.page.text import text_size_of
from whyray.results.page.typeface import legible, typeface
from whyray.results.template_layout import Layout
from whyray.results.wording import Wording


def on_paper(layout: Layout) -> Layout:
    """The layout with the colours of paper."""
    return layout.model_copy(update={"colours": layout.paper.colours})


@stage("drawing")
def sheets(
    answer: Answer,
    pages: Iterable[Page],
    layout: Layout,
    wording: Wording,
    *,
    shown_in: Sequence[Summarised] | None = None,
) -> list[Picture]:
    """What was found, then the pages, each below the words that say whose it is.

    `layout` is the one of `on_paper`, in which the pages were drawn too; `shown_in` as for `summary_page`.
    """
    every = [summary_page(answer, layout, wording, shown_in=shown_in), *pages]
    return [_headed(page.picture, _whose(answer, layout, wording), layout) for page in every]


def _whose(answer: Answer, layout: Layout, wording: Wording) -> list[str]:
    header = answer.image.header
    return [
        _named(answer, layout, wording),
        wording.study.format(
            date=_date(identity(header, "StudyDate")), accession=identity(header, "AccessionNumber") or "?"
        ),
        wording.made.format(time=local_time(answer).strftime("%Y-%m-%d %H:%M:%S %z").strip()),
    ]


def _named(answer: Answer, layout: Layout, wording: Wording) -> str:
    """The patient by all component groups of the name (PS3.5 6.2.1) that the fonts can write in one line."""
    header = answer.image.header
    written = (" ".join(group.replace("^", " ").split()) for group in identity(header, "PatientName").split("="))
    groups = [group for group in written if group]

    def line(names: list[str]) -> str:
        return wording.patient.format(
            name=" / ".join(names) or "?",
            identifier=identity(header, "PatientID") or "?",
            birth_date=_date(identity(header, "PatientBirthDate")),
        )

    choices = [groups, [group for group in groups if legible(layout.fonts, group)], groups[:1]]
    return next((text for names in choices if names and legible(layout.fonts, text := line(names))), line(groups[:1]))


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if text else "?"


def _headed(picture: Picture, lines: list[str], layout: Layout) -> Picture:
    width = picture.shape[1]
    size = round(text_size_of(width) * 1.25)
    strip = Image.new("RGB", (width, layout.page.margin + round(len(lines) * size * 1.5)), layout.colours.background)
    draw = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        place = (layout.page.margin, layout.page.margin + round(number * size * 1.5))
        draw.text(place, line, font=typeface(layout.fonts, line, size), fill=layout.colours.text)
    return np.vstack([np.asarray(strip), picture])
