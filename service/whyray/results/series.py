"""Number and description of the series of results: distinct for each package, and whole within the 64 characters of LO.

A viewer's list of series shows the beginning of a description, so the kind comes first, then what is found.
"""

from __future__ import annotations

import hashlib
import re

from pydicom import Dataset

from whyray.results.answer import Answer, label_of, named_findings
from whyray.results.charset import holds
from whyray.results.coding import LONGEST_TEXT, one_value
from whyray.results.template_objects import SeriesTemplate, SeriesTemplates

SEPARATOR = "·"
"""Between the parts of a description; a hyphen where the source's character set has no such character."""
_KINDS = 10
"""Numbers that each package has, one a kind."""
_NAMED, _UNNAMED = 100, 9_900
"""Places of packages that `series.yaml` names, and those that the others share out by their names."""
_SMALL_WORDS = frozenset({"a", "an", "and", "any", "by", "for", "in", "of", "on", "the", "with"})
_SHORT = 4
"""Letters that are left of a word that is shortened, before its full stop."""


def series_number(series: SeriesTemplates, template: SeriesTemplate, package: str) -> int:
    """The number of a package's series of one kind, the same for every revision.

    `base` + 10 × the package's place + the kind's number; a kind's number from 10 on is taken as it is. A package that
    `series.yaml` doesn't name has a place by its name, which it shares with no other but by a chance of 1 in 9900.
    """
    if template.number >= _KINDS:
        return template.number
    place = series.packages.get(package)
    if place is None:
        place = _NAMED + int.from_bytes(hashlib.sha256(package.encode()).digest()[:8], "big") % _UNNAMED
    return series.base + _KINDS * place + template.number


def series_description(answer: Answer, template: SeriesTemplate, method: str) -> str:
    """The description of a series, with the version that it replaces; words are shortened until it is short enough."""
    package = answer.package
    replaced = answer.version_replaced
    revision = "" if replaced is None else f" {SEPARATOR} rev {answer.version}, replaces {replaced}"
    names = [label_of(finding).replace("_", " ") for finding in named_findings(answer)]
    titles = shorter_titles(package.title)
    findings = _shorter_lists(names) or titles

    def written(step: int) -> str:
        text = template.description.format(
            package=package.name,
            version=package.version,
            title=titles[min(step, len(titles) - 1)],
            findings=findings[min(step, len(findings) - 1)],
            method=method,
        )
        return separated(text + revision, answer.image.header)

    steps = [one_value(written(step), 10 * LONGEST_TEXT) for step in range(max(len(titles), len(findings)))]
    return next((text for text in steps if len(text) <= LONGEST_TEXT), None) or shortened(steps[-1], LONGEST_TEXT)


def separated(text: str, header: Dataset) -> str:
    """The text with separators that the character set of `header` has."""
    return text if holds(header, SEPARATOR) else text.replace(SEPARATOR, "-")


def shorter_titles(title: str) -> list[str]:
    """A package's title, then without what stands in parentheses, then without what follows the first comma."""
    plain = re.sub(r"\s*\([^)]*\)", "", title).strip() or title
    main = re.split(r"[,;:]\s", plain)[0]
    telling = " ".join(word for word in main.split() if word.lower() not in _SMALL_WORDS) or main
    return list(dict.fromkeys([title, plain, main, telling]))[1:] or [title]


def shortened(text: str, longest: int) -> str:
    """The text with its longest words cut to four letters and a full stop, one after the other, until it fits.

    Text without spaces between its words, and what is too long even so, ends where there is no more room.
    """
    words = text.split(" ")
    while len(" ".join(words)) > longest:
        place = max(range(len(words)), key=lambda index: len(words[index]))
        if len(words[place]) <= _SHORT + 1 or " " not in text:
            break
        words[place] = words[place][:_SHORT] + "."
    while len(" ".join(words)) > longest and len(words) > 1:
        words.pop()
    return " ".join(words)[:longest].rstrip()


def _shorter_lists(names: list[str]) -> list[str]:
    """All names, then ever fewer of them with how many more there are."""
    whole = [", ".join(names)] if names else []
    return whole + [f"{', '.join(names[:count])} +{len(names) - count}" for count in range(len(names) - 1, 0, -1)]
