"""What pages say in words: of a finding, of its number, and at their foot."""

from __future__ import annotations

import math

from whyray.imaging import SourceFrame, SourceImage, spacing_plane
from whyray.results.answer import Answer, Finding, FramesExplained
from whyray.results.image_notes import one_line
from whyray.results.measured import value_unit
from whyray.results.numbers import NO_BREAK, Numbers
from whyray.results.page.layout import Line
from whyray.results.page.marks import Probability
from whyray.results.prevalence import prevalence_words
from whyray.results.study_images import image_in_words, place_to_say
from whyray.results.template_layout import Layout
from whyray.results.wording import Wording

FOOT = 0.9
"""Letters of a page's foot, in those of its text."""


def name_of(finding: Finding, wording: Wording) -> str:
    """The finding's name as people write it in this language."""
    return wording.named(finding.target.name)


def package_title(answer: Answer, wording: Wording) -> str:
    """What the package is called in this language."""
    return wording.package_titles.get(answer.package.name, answer.package.title)


def number_of(answer: Answer, finding: Finding, wording: Wording) -> str:
    """The finding's probability, or its value with its unit; empty where it has neither."""
    if finding.probability is not None:
        return wording.numbers.probability(finding.probability)
    if finding.value is not None:
        unit = value_unit(answer, finding).value
        value = wording.numbers.significant(finding.value, 4)
        return value if unit == "1" else f"{value}{NO_BREAK}{unit.replace('mm2', 'mm²')}"
    return ""


def title_of(answer: Answer, finding: Finding, wording: Wording) -> str:
    """The finding with its number."""
    return f"{name_of(finding, wording)}   {number_of(answer, finding, wording)}".rstrip()


def probability_of(finding: Finding, wording: Wording) -> Probability | None:
    """The finding's probability as a bar; None where it has none."""
    if finding.probability is None:
        return None
    threshold = finding.target.threshold
    called = wording.pages.threshold.format(value=wording.numbers.probability(threshold))
    return Probability(finding.probability, threshold, wording.numbers.probability(finding.probability), called)


def is_called(finding: Finding) -> bool:
    """Whether it belongs to what was found: present, or a number that is told in any case."""
    return finding.present or (finding.probability is None and finding.mask is None and finding.value is not None)


def about_words(answer: Answer, finding: Finding, wording: Wording) -> str:
    """Which image of the study and which frame of a multi-frame instance the page is about, and the prevalence that a
    route set; often none of them."""
    image, said = answer.image, [words] if (words := image_in_words(place_to_say(answer), wording)) else []
    if image.multi_frame_instance is not None and len(image.frames) == 1:
        total = int(image.header.NumberOfFrames)
        said.append(wording.source_frame.format(number=image.frames[0].frame_number, total=total))
    if finding.prevalence is not None and finding.prevalence.is_set:
        said.append(prevalence_words(answer, finding, wording) or "")
    return "  ·  ".join(said)


def foot_of(answer: Answer, layout: Layout, wording: Wording, *, scaled: bool = False) -> list[Line]:
    """What every page says at its foot: how the image was read, package and version, and what it is not for.

    `scaled`: the page shows a bar of length.
    """
    package, colours = answer.package, layout.colours
    noted = [one_line(answer.image.notes, wording.notes)]
    if answer.frames_explained is not None:
        noted.append(frames_explained_words(answer.frames_explained, wording))
    if answer.version_replaced is not None:
        noted.append(wording.revision.format(number=answer.version))
    parts = [wording.pages.package.format(title=package_title(answer, wording), version=package.version)]
    if scaled and (plane := _plane_in_words(answer.image, wording)):
        parts.append(plane)
    return [
        Line("", colours.text, 0.3),
        *(Line(words, colours.amber, FOOT) for words in noted if words),
        Line("  ·  ".join(parts), colours.faint, FOOT),
        Line(wording.not_for_diagnosis, colours.red, FOOT),
    ]


def frames_explained_words(explained: FramesExplained, wording: Wording) -> str:
    """Which frames of a multi-frame instance are explained, and that the others are not."""
    return wording.frames_explained.format(
        count=len(explained.numbers), total=explained.answered, numbers=explained.ranges
    )


def scale_bar(frame: SourceFrame, size: tuple[int, int], numbers: Numbers) -> tuple[int, str] | None:
    """A bar of 1, 2 or 5 times a power of ten mm, at most a third of the panel's width."""
    if frame.spacing is None or frame.spacing[1] <= 0:
        return None
    millimetres_per_pixel = frame.spacing[1] * frame.shape[1] / size[0]
    room = millimetres_per_pixel * size[0] / 3
    power = 10.0 ** math.floor(math.log10(room))
    length = max(step * power for step in (1, 2, 5) if step * power <= room)
    shown, unit = (length / 10, "cm") if length >= 10 else (length, "mm")
    text = f"{numbers.significant(shown, 3)}{NO_BREAK}{unit}"
    return round(length / millimetres_per_pixel), text


def _plane_in_words(image: SourceImage, wording: Wording) -> str:
    """Where the lengths of the source's spacing are true, unless it is in the patient."""
    frame = image.frames[0]
    if frame.spacing is None:
        return ""
    plane = spacing_plane(image.headers[frame.sop_instance_uid], frame.frame_number)
    return {"detector": wording.detector_plane, "estimated": wording.estimated_plane}.get(plane, "")
