"""The tables of docs/conformance-statement.md (PS3.2), made from what the code does, so that they can't fall behind it.

The page holds `<!-- table: NAME -->` … `<!-- end -->` pairs; `with_tables` fills them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_description
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, UID_dictionary
from pynetdicom import DEFAULT_TRANSFER_SYNTAXES, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StudyRootQueryRetrieveInformationModelFind, Verification

from whyray.base.coded_concept import CodedConcept
from whyray.base.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from whyray.compression.lossless import COMPRESSIONS, LosslessCompression
from whyray.config import (
    AssociationTimeouts,
    DicomDestination,
    DicomWebDestination,
    Informed,
    Listener,
    ListenerLimits,
    Worklist,
)
from whyray.config.base import Section, field_docstrings
from whyray.config.network import DicomWebListener
from whyray.delivery import STATUSES, Outgoing
from whyray.delivery.announcement import announcement_context
from whyray.delivery.cstore import contexts_for
from whyray.delivery.statuses import rejection as rejection_by_peer
from whyray.delivery.syntaxes import UNCOMPRESSED
from whyray.intake import refusals
from whyray.intake.admission import is_storage, rejection, supported
from whyray.intake.part10 import TRANSFER_SYNTAXES
from whyray.results import Templates
from whyray.results.segmentation import LABEL_MAP_SOP_CLASS_UID
from whyray.results.series import series_number

_EXPLAINED = ("intake.disk-low", "intake.too-large")
"""Refusals whose detail names a setting."""
_NEWER = {LABEL_MAP_SOP_CLASS_UID: "Label Map Segmentation Storage"}
"""Names of SOP classes that pydicom's dictionary does not have yet."""
_MARK = re.compile(r"<!-- table: (?P<name>[a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)


def with_tables(page: str, templates: Templates, made: Mapping[str, Sequence[Dataset]]) -> str:
    """The page with its tables as the code has them now.

    Parameters
    ----------
    made
        Results of each kind that there is: real ones, of several sources.

    Raises
    ------
    ValueError
        If the page misses a table, or names one that does not exist.
    """
    tables = {**network_tables(_classes(made)), **object_tables(templates, made)}
    named = [mark["name"] for mark in _MARK.finditer(page)]
    if sorted(named) != sorted(tables):
        raise ValueError(f"the page has the tables {sorted(named)}, the code {sorted(tables)}")
    return _MARK.sub(lambda mark: f"<!-- table: {mark['name']} -->\n{tables[mark['name']]}\n<!-- end -->", page)


def network_tables(made: Sequence[str]) -> dict[str, str]:
    """Tables of services, presentation contexts, statuses and parameters; `made`: SOP classes of results."""
    return {
        "services": _services(made),
        "identification": _table(
            ("item", "value"),
            [
                ("Implementation Class UID", f"`{IMPLEMENTATION_CLASS_UID}`"),
                ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`"),
            ],
        ),
        "accepted-sop-classes": _accepted(),
        "accepted-transfer-syntaxes": _table(("transfer syntax", "UID"), _named(TRANSFER_SYNTAXES)),
        "rejections": _rejections(),
        "store-statuses": _store_statuses(),
        "proposed": _proposed(made),
        "delivery-statuses": _table(
            ("status", "meaning", "what WhyRay does", "defined in"),
            [
                (_span(meaning.first, meaning.last), meaning.words, meaning.verdict.value, meaning.source)
                for meaning in STATUSES
            ],
        ),
        "rejections-by-peers": _rejections_by_peers(),
        "parameters": _parameters(),
    }


def object_tables(templates: Templates, made: Mapping[str, Sequence[Dataset]]) -> dict[str, str]:
    """Tables of the objects that WhyRay makes."""
    return {
        "created": _created(templates, made),
        "quantities": _quantities(templates),
        "concepts": _concepts(templates),
        "attributes": _attributes(made),
    }


@cache
def storage_classes() -> tuple[str, ...]:
    """The composite storage SOP classes of PS3.6 that the listener takes, by asking it."""
    known = [uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class" and is_storage(uid)]
    accepted = supported(build_context(uid, sorted(TRANSFER_SYNTAXES)) for uid in known)
    return tuple(sorted((str(context.abstract_syntax) for context in accepted), key=_name))


def _services(made: Sequence[str]) -> str:
    rows = [(_name(uid), "yes", "yes" if is_storage(uid) else "no") for uid in sorted(made, key=_name)]
    rows += [
        ("All other composite storage SOP classes (section 4.2.1), and private ones", "no", "yes"),
        (_name(Verification), "yes", "yes"),
        (_name(StorageCommitmentPushModel), "yes", "yes"),
        (_name(StudyRootQueryRetrieveInformationModelFind), "yes", "no"),
        (_name(str(announcement_context().abstract_syntax)), "yes", "no"),
    ]
    return _table(("SOP class", "user (SCU)", "provider (SCP)"), rows)


def _accepted() -> str:
    return _table(("SOP class", "UID"), [(_name(uid), f"`{uid}`") for uid in storage_classes()])


def _rejections() -> str:
    listener = Listener(peers={"KNOWN": "10.0.0.5"})  # type: ignore[dict-item]  # the short form, as in the file
    known = {"called": "WHYRAY", "calling": "KNOWN", "address": "10.0.0.5", "in_use": 0}
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("the called AE title is not WhyRay's", {"called": "OTHER"}),
        ("the calling AE title is not among `listener.peers`", {"calling": "STRANGER"}),
        ("the peer calls from an address that `listener.peers` does not give it", {"address": "10.0.0.6"}),
        ("`listener.limits.max_associations` are open", {"in_use": 10**6}),
        ("`listener.limits.max_per_address` of them are the address's own", {"of_address": 10**6}),
        ("`listener.limits.max_per_ae_title` of them are the calling AE title's own", {"of_title": 10**6}),
    )
    rows = []
    for when, given in cases:
        refused = rejection(listener, **{**known, **given}, resolve=lambda _: frozenset())
        assert refused is not None
        rows.append((str(refused.result), str(refused.source), str(refused.reason), when))
    return _table(("result", "source", "reason", "when"), rows)


def refused() -> list[refusals.Refused]:
    """One of each reason for which an instance is not taken."""
    return [
        refusals.disk_low(),
        refusals.not_writable(""),
        refusals.catalog_down(""),
        refusals.too_large(),
        refusals.mismatch("SOP Class, SOP Instance or Study Instance UID", "", ""),
        refusals.not_understood("not whole, no data set, or a UID is missing"),
        refusals.invalid_uid("the command's Affected SOP Instance UID is missing or is not a UID"),
        refusals.class_not_supported(""),
        refusals.syntax_not_supported(""),
        refusals.failed_here(RuntimeError()),
    ]


def _store_statuses() -> str:
    only = {
        0x0117: "C-STORE",
        0x0122: "STOW-RS; C-STORE whose command names no storage class, else its presentation context is refused",
        0xC122: "STOW-RS (by C-STORE the presentation context is refused)",
    }
    rows = [("0x0000", "Success: the instance is durable in storage and in the catalog", "C-STORE, STOW-RS")]
    for refusal in refused():
        words = f"{refusal.words} ({refusal.detail})" if refusal.kind in _EXPLAINED else refusal.words
        rows.append((f"0x{refusal.status:04X}", words, only.get(refusal.status, rows[0][2])))
    return _table(("status or Failure Reason", "when", "by"), rows)


def _proposed(made: Sequence[str]) -> str:
    contexts: dict[str, list[list[str]]] = {}
    for sop_class in made:
        file = Outgoing(Path(), sop_class, "1.2", ExplicitVRLittleEndian)
        for context in contexts_for([file], [*UNCOMPRESSED, *COMPRESSIONS.values()], LosslessCompression()):
            contexts.setdefault(sop_class, []).append([str(syntax) for syntax in context.transfer_syntax])
    rows = [
        (_name(sop_class), f"`{sop_class}`", "; ".join(_names(syntaxes) for syntaxes in syntax_lists), "SCU", "none")
        for sop_class, syntax_lists in contexts.items()
    ]
    uncompressed = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    rows += [
        (_name(uid), f"`{uid}`", _names(syntaxes), "SCU", "none")
        for uid, syntaxes in (
            (Verification, uncompressed),
            (StorageCommitmentPushModel, uncompressed),
            (StudyRootQueryRetrieveInformationModelFind, DEFAULT_TRANSFER_SYNTAXES),
        )
    ]
    told = announcement_context()
    uid = str(told.abstract_syntax)
    rows.append((_name(uid), f"`{uid}`", _names(map(str, told.transfer_syntax)), "SCU", "none"))
    header = ("abstract syntax", "UID", "transfer syntaxes, one context each between semicolons", "role", "negotiation")
    return _table(header, rows)


def _rejections_by_peers() -> str:
    rows = []
    for result in (1, 2):
        for source, reason in ((1, 1), (1, 2), (1, 3), (1, 7), (2, 1), (2, 2), (3, 1), (3, 2)):
            error = rejection_by_peer(result, source, reason, "the peer", "WhyRay")
            words = error.message.rpartition(": ")[2]
            rows.append((str(result), str(source), str(reason), words, "tried again" if error.retriable else "failed"))
    return _table(("result", "source", "reason", "meaning", "the delivery is"), rows)


def _parameters() -> str:
    sections: tuple[tuple[str, type[Section]], ...] = (
        ("listener", Listener),
        ("listener.limits", ListenerLimits),
        ("listener.dicomweb", DicomWebListener),
        ("destinations.NAME", DicomDestination),
        ("destinations.NAME.timeouts", AssociationTimeouts),
        ("destinations.NAME (by STOW-RS)", DicomWebDestination),
        ("destinations.NAME.announce_to", Informed),
        ("worklists.NAME", Worklist),
    )
    rows = []
    for path, model in sections:
        defaults = model.model_construct().model_dump(mode="json", warnings=False)
        told = field_docstrings(model)
        for name, field in model.model_fields.items():
            default = defaults.get(name)
            if not isinstance(default, str | int | None) or name in ("token", "login"):
                continue
            meaning = " ".join((field.description or told.get(name, "")).split()).replace("|", "\\|")
            rows.append((f"`{path}`: `{name}`", "" if default is None else f"`{default!s}`", meaning))
    return _table(("parameter", "default", "meaning"), rows)


def _classes(made: Mapping[str, Sequence[Dataset]]) -> list[str]:
    return list(dict.fromkeys(str(dataset.SOPClassUID) for datasets in made.values() for dataset in datasets))


def _created(templates: Templates, made: Mapping[str, Sequence[Dataset]]) -> str:
    rows = []
    for kind, datasets in made.items():
        series = getattr(templates.series, kind)
        for sop_class in _classes({kind: datasets}):
            used = set().union(*(_templates(dataset) for dataset in datasets if sop_class == dataset.SOPClassUID))
            content = ", ".join(f"TID {template}" for template in sorted(used, key=int)) or "none"
            named = (f"`{kind}`", _name(sop_class), f"`{sop_class}`")
            number = series_number(templates.series, series, "cxr-findings")
            description = series.description.replace("|", "\\|")
            rows.append((*named, series.modality, str(number), description, content))
    header = ("kind", "SOP class", "UID", "modality", "series number (cxr-findings)", "series description", "templates")
    return _table(header, rows)


def _templates(item: Dataset) -> set[str]:
    own = {str(template.TemplateIdentifier) for template in item.get("ContentTemplateSequence", [])}
    return own.union(*(_templates(child) for child in item.get("ContentSequence", [])))


def _quantities(templates: Templates) -> str:
    concepts = templates.concepts
    rows = [(f"`{name}`", _code(code)) for name, code in sorted(concepts.quantities.items())]
    return _table(("method", "quantity"), [*rows, ("any other", _code(concepts.other_quantity))])


def _concepts(templates: Templates) -> str:
    concepts = templates.concepts
    by_name = {name: getattr(concepts, name) for name in type(concepts).model_fields}
    flat: list[tuple[str, CodedConcept]] = []
    for name, concept in by_name.items():
        if isinstance(concept, Mapping) or name == "other_quantity":
            continue
        nested = type(concept).model_fields if name == "grades" else ()
        flat += [(f"{name}: {inner}", getattr(concept, inner)) for inner in nested] or [(name, concept)]
    return _table(("meaning", "code"), [(name.replace("_", " "), _code(concept)) for name, concept in flat])


def _attributes(made: Mapping[str, Sequence[Dataset]]) -> str:
    """Which attributes of the top level the objects of each kind have: always, or depending on the source."""
    kinds = list(made)
    tags = sorted(set().union(*(dataset.keys() for datasets in made.values() for dataset in datasets)))
    rows = []
    for tag in tags:
        has = {kind: [tag in dataset for dataset in made[kind]] for kind in kinds}
        marks = ["always" if all(has[kind]) else "some" if any(has[kind]) else "" for kind in kinds]
        rows.append((dictionary_description(tag), f"({tag.group:04X},{tag.element:04X})", *marks))
    return _table(("attribute", "tag", *kinds), rows)


def _code(concept: CodedConcept) -> str:
    return f'({concept.value}, {concept.scheme}, "{concept.meaning}")'


def _span(first: int, last: int) -> str:
    return f"0x{first:04X}" if first == last else f"0x{first:04X} to 0x{last:04X}"


def _name(uid: str) -> str:
    if uid in _NEWER:
        return _NEWER[uid]
    entry = UID_dictionary.get(uid)
    if entry is None or not entry[3]:
        return str(UID(uid).name)
    return f"{entry[0]} (retired)" if entry[0] else "(retired, without a name)"


def _names(uids: Iterable[str]) -> str:
    return ", ".join(_name(uid) for uid in uids)


def _named(uids: Iterable[str]) -> Iterator[tuple[str, str]]:
    for uid in sorted(uids, key=_name):
        yield _name(uid), f"`{uid}`"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)
