"""Which routes take which series, and which clause refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from whyray.config import Clause, Condition, Config, PackageReference, Route, keyword_of, parse_attribute
from whyray.routing.elements import Element, find
from whyray.routing.operators import clauses_of, evaluate, holds, top_level

_LONGEST_FOUND = 80
_PATIENT_GROUP = 0x0010
# Attributes of group 0010 that say nothing about who the patient is.
_SHOWN_OF_PATIENT = frozenset({"PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved"})


@dataclass(frozen=True)
class ClauseResult:
    """One clause that must hold: its words, whether it held, and what was found (never who the patient is).

    `unread` names the attributes that would have to be read to tell; empty where it could be told.
    """

    text: str
    matched: bool
    value: str
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """Whether a route takes a series (or its study), clause by clause."""

    route: str
    matched: bool
    clauses: tuple[ClauseResult, ...]

    @property
    def refusals(self) -> tuple[ClauseResult, ...]:
        """The clauses that did not hold."""
        return tuple(clause for clause in self.clauses if not clause.matched)

    @property
    def unread(self) -> tuple[str, ...]:
        """The attributes that can't be read and on which alone it hangs whether this matches."""
        if any(not clause.matched and not clause.unread for clause in self.clauses):
            return ()
        return tuple(dict.fromkeys(path for clause in self.clauses for path in clause.unread))


@dataclass(frozen=True)
class Series:
    """What routing knows of one series: UID, the header of any one instance, and how many instances are here."""

    uid: str
    header: Dataset
    instances: int = 1


@dataclass(frozen=True)
class RouteMatch:
    """One route, the packages that it runs, and the Series Instance UIDs that they run on."""

    route: Route
    packages: tuple[PackageReference, ...]
    series: tuple[str, ...]


@dataclass(frozen=True)
class Routing:
    """What becomes of one study. `otherwise` is true only if no route matched any of its series.

    `undecided` has the routes that take a series or not by an attribute that can't be read, with those attributes;
    they do not take it.
    """

    matches: tuple[RouteMatch, ...]
    otherwise: bool
    undecided: tuple[tuple[str, tuple[str, ...]], ...] = ()


def match_series(route: Route, header: Dataset, *, instances: int | None = None) -> Match:
    """Whether a route's `when` holds for a series, by the header of one of its instances.

    `instances`, where given, stands for NumberOfSeriesRelatedInstances, whatever the header says.
    """
    counts = Dataset()
    if instances is not None:
        counts.NumberOfSeriesRelatedInstances = instances
    return _match(route, route.when, (header,), counts)


def match_study(route: Route, series: Sequence[Series]) -> Match:
    """Whether a route's `study` holds for a study.

    A clause holds if it holds for any of the series, except that NumberOfStudyRelatedSeries,
    NumberOfStudyRelatedInstances, ModalitiesInStudy and SOPClassesInStudy are counted here.
    """
    return _match(route, route.study, tuple(member.header for member in series), _study_counts(series))


def routes_for(config: Config, series: Sequence[Series]) -> Routing:
    """Which routes run which packages on which series of one study.

    Disabled routes never match, and those that run by order don't here. The caller leaves WhyRay's own results out
    (`is_own_result`).
    """
    matches, undecided = [], []
    for route in config.routes:
        if not route.enabled or route.by_order:
            continue
        of_study = match_study(route, series)
        of_series = {member.uid: match_series(route, member.header, instances=member.instances) for member in series}
        taken = tuple(uid for uid, match in of_series.items() if match.matched) if of_study.matched else ()
        if taken:
            matches.append(RouteMatch(route, route.run, taken))
        if unread := _unread(of_study, tuple(of_series.values())):
            undecided.append((route.name, unread))
    return Routing(tuple(matches), otherwise=not matches, undecided=tuple(undecided))


def _unread(of_study: Match, of_series: Sequence[Match]) -> tuple[str, ...]:
    """The attributes on which it hangs whether a route takes one more series of this study."""
    if not of_study.matched and not of_study.unread:
        return ()
    open_series = [match for match in of_series if match.unread or (match.matched and not of_study.matched)]
    if not open_series:
        return ()
    return tuple(dict.fromkeys((*of_study.unread, *(path for match in open_series for path in match.unread))))


def _match(route: Route, condition: Condition, headers: tuple[Dataset, ...], counts: Dataset) -> Match:
    cache: dict[str, tuple[Element, ...]] = {}

    def elements(clause: Clause) -> tuple[Element, ...]:
        if clause.path.text not in cache:
            counted = find((counts,), clause.path)
            cache[clause.path.text] = counted or find(headers, clause.path)
        return cache[clause.path.text]

    results = tuple(_result(part, elements) for part in top_level(condition))
    return Match(route.name, all(result.matched for result in results), results)


def _result(part: Condition, elements: Callable[[Clause], tuple[Element, ...]]) -> ClauseResult:
    answer = evaluate(part, elements)
    unread: tuple[str, ...] = ()
    if answer is None:
        paths = (clause.path.text for clause in clauses_of(part) if holds(clause, elements(clause)) is None)
        unread = tuple(dict.fromkeys(paths))
    return ClauseResult(str(part), answer is True, _found(part, elements), unread)


def _found(part: Condition, elements: Callable[[Clause], tuple[Element, ...]]) -> str:
    """What the attributes of a condition hold, for people; 'absent' where they hold nothing."""
    by_path = {clause.path.text: _shown(clause, elements(clause)) for clause in clauses_of(part)}
    if len(by_path) == 1:
        return next(iter(by_path.values()))
    return "; ".join(f"{path}: {text}" for path, text in by_path.items())


def _shown(clause: Clause, elements: tuple[Element, ...]) -> str:
    if holds(clause, elements) is None:
        return "can't be read"
    if not any(element.present for element in elements):
        return "absent"
    if _names_the_patient(clause, elements):
        return "present, not shown"
    texts = dict.fromkeys(text for element in elements for text in element.texts)
    text = ", ".join(texts) or "present"
    return text if len(text) <= _LONGEST_FOUND else f"{text[:_LONGEST_FOUND]}…"


def _names_the_patient(clause: Clause, elements: tuple[Element, ...]) -> bool:
    attribute = clause.path.last
    confidential = attribute.tag >> 16 == _PATIENT_GROUP and keyword_of(attribute) not in _SHOWN_OF_PATIENT
    return confidential or any(element.vr == "PN" for element in elements)


def _study_counts(series: Sequence[Series]) -> Dataset:
    counts = Dataset()
    counts.NumberOfStudyRelatedSeries = len({member.uid for member in series})
    counts.NumberOfStudyRelatedInstances = sum(member.instances for member in series)
    counts.ModalitiesInStudy = _values(series, "Modality")
    counts.SOPClassesInStudy = _values(series, "SOPClassUID")
    return counts


def _values(series: Sequence[Series], keyword: str) -> list[str]:
    path = parse_attribute(keyword)
    return sorted({text for member in series for element in find((member.header,), path) for text in element.texts})
