"""What an explanation that is not a heatmap becomes in results: rows of the report, figures of pages, and words.

One file a kind; each registers a function for its type of explanation. Pages and reports are written elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyray.base.coded_concept import CodedConcept
from whyray.base.errors import ExplanationError
from whyray.explain import TypedExplanation
from whyray.results.answer import Answer, Finding, GradedExplanation
from whyray.results.coding import own
from whyray.results.template_layout import Layout
from whyray.results.templates import Templates
from whyray.results.wording import Wording

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One statement: a content item of the report, by the type of `value` a NUM, CODE or TEXT item.

    `of` are statements about this one (its interval, its p-value). `structure` names a structure of the explanation:
    all rows about the same one form a group that refers to its segment.
    """

    name: CodedConcept
    value: float | str | CodedConcept
    unit: CodedConcept | None = None
    comment: str = ""
    of: tuple[Row, ...] = ()
    structure: str | None = None


@dataclass(frozen=True)
class Figure:
    """A picture with its caption. `synthetic` pictures get the mark burned in; `frame`: the source frame that it shows,
    None where it shows none."""

    picture: Picture
    caption: str
    synthetic: bool = False
    frame: int | None = None


@dataclass(frozen=True)
class Plain:
    """What a reader is shown who has five seconds and no legend: figures in rows of `columns`, and few sentences.

    `shown` is False where the figures are held back, since nobody could see in them what they are to show. Where it is
    about the image whatever the finding, `about_image` is the title of its one page.
    """

    sentences: tuple[str, ...]
    figures: tuple[Figure, ...] = ()
    columns: int = 1
    shown: bool = True
    about_image: str = ""


@dataclass(frozen=True)
class Portrayal:
    """All that results say of one explanation.

    Attributes
    ----------
    headline
        One line that sums it up, below the page's title.
    rows
        For the report.
    columns
        Figures in a row.
    lines
        For the legend of the page with details.
    draw_figures, draw_cine, draw_plain
        Draw what the properties of these names hold, when it is first asked for: reports need no pictures, and hardly
        any reader needs all.
    """

    headline: str
    rows: tuple[Row, ...]
    columns: int = 1
    lines: tuple[str, ...] = ()
    draw_figures: Callable[[], Sequence[Figure]] = tuple
    draw_cine: Callable[[], Sequence[Figure]] = tuple
    draw_plain: Callable[[], Plain | None] = lambda: None

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """For the page with details, in rows of `columns`; none where there is nothing to draw."""
        return tuple(self.draw_figures())

    @cached_property
    def cine(self) -> tuple[Figure, ...]:
        """Frames of equal size for a multi-frame capture that viewers play; empty for none."""
        return tuple(self.draw_cine())

    @cached_property
    def plain(self) -> Plain | None:
        """For a radiologist's page; None of an explanation that only scientists read."""
        return self.draw_plain()


@dataclass(frozen=True)
class Look:
    """With what a portrayal is made: templates, layout and words; the explained finding; and the source."""

    answer: Answer
    finding: Finding
    templates: Templates
    layout: Layout
    wording: Wording

    @property
    def scheme(self) -> str:
        """The designator of private codes."""
        return self.templates.equipment.coding_scheme.designator

    def own(self, name: str) -> CodedConcept:
        """A private code for something that has only a name."""
        return own(name, self.scheme)


Portrayer = Callable[[Any, Look], Portrayal]
_T = TypeVar("_T", bound=Portrayer)
_PORTRAYERS: dict[type[TypedExplanation], Portrayer] = {}


def portrays(kind: type[TypedExplanation]) -> Callable[[_T], _T]:
    """Decorator: the function portrays explanations of this type. It takes the explanation and a Look."""

    def register(portrayer: _T) -> _T:
        if kind in _PORTRAYERS:
            raise ValueError(f"two functions portray {kind.__name__}")
        _PORTRAYERS[kind] = portrayer
        return portrayer

    return register


def portray(graded: GradedExplanation, look: Look) -> Portrayal:
    """The portrayal of an explanation; ExplanationError where nobody knows how to portray its type."""
    portrayer = _PORTRAYERS.get(type(graded.explanation))
    if portrayer is None:
        raise ExplanationError(f"{graded.explanation.method}: results can't show a {type(graded.explanation).__name__}")
    return portrayer(graded.explanation, look)


def grey(values: NDArray[np.float32], size: tuple[int, int]) -> Picture:
    """A displayed picture (rows, columns) in 0..1 as RGB, fitted into `size` (width, height) without distortion."""
    pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    rows, columns = pixels.shape
    scale = min(size[0] / columns, size[1] / rows)
    fitted = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    image = Image.new("RGB", size, (0, 0, 0))
    drawn = Image.fromarray(pixels).convert("RGB").resize(fitted, Image.Resampling.BICUBIC)
    image.paste(drawn, ((size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2))
    return np.asarray(image)
