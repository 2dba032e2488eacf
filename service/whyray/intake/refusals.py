"""Why an instance is not taken: the statuses of PS3.4 table B.2-1 and the words that go with them.

The words go to the peer as Error Comment (64 characters at most), to the log and to the catalog. They name no value of
the data set but UIDs. By STOW-RS the statuses are Failure Reasons (PS3.18 table I.2-2).
"""

from __future__ import annotations

from whyray.catalog import EventKind

_LONGEST_COMMENT = 64


class Refused(Exception):  # noqa: N818
    """A C-STORE that is answered with a failure.

    Parameters
    ----------
    status
        A7xx: later may do; A900: not what the command says; Cxxx: never.
    kind
        The event's kind.
    words
        For the peer.
    detail
        For the operator, where more is known.
    """

    def __init__(self, status: int, kind: EventKind, words: str, detail: str = "") -> None:
        super().__init__(words)
        self.status, self.kind, self.words, self.detail = status, kind, words, detail or words
        self.study_uid: str | None = None

    @property
    def comment(self) -> str:
        """Error Comment of the C-STORE response."""
        return self.words[:_LONGEST_COMMENT]


def disk_low() -> Refused:
    """Less space is free than the configuration wants to keep."""
    return Refused(
        0xA700,
        "intake.disk-low",
        "Out of resources: disk space low",
        "free disk is below listener.limits.min_free_disk",
    )


def not_writable(detail: str) -> Refused:
    """Storage could not take the bytes."""
    return Refused(0xA700, "intake.storage-failed", "Out of resources: storage", detail)


def catalog_down(detail: str) -> Refused:
    """The bytes are on disk, but the catalog could not be told."""
    return Refused(0xA701, "intake.catalog-down", "Out of resources: catalog not available", detail)


def too_large() -> Refused:
    """The data set is larger than the configuration allows."""
    return Refused(
        0xA702,
        "intake.too-large",
        "Out of resources: instance larger than allowed here",
        "the data set is larger than listener.limits.max_instance_size",
    )


def mismatch(what: str, named: str, data_set: str, by: str = "command") -> Refused:
    """The data set is of another class, instance or study than `by` names."""
    return Refused(
        0xA900,
        "intake.mismatch",
        f"{what} differs between {by} and data set",
        f"the {by} names {what} {named}, the data set {data_set}",
    )


def not_understood(reason: str) -> Refused:
    """The data set can't be read."""
    return Refused(0xC000, "intake.not-understood", f"Cannot understand: {reason}", reason)


def invalid_uid(words: str) -> Refused:
    """The C-STORE command names no instance that could be answered: PS3.7 section C.5.6."""
    return Refused(0x0117, "intake.invalid-uid", f"Invalid SOP Instance: {words}", words)


def class_not_supported(sop_class_uid: str) -> Refused:
    """Not a composite storage SOP class; by C-STORE its presentation context is refused before."""
    words = "SOP Class not supported"
    return Refused(0x0122, "intake.class", words, f"{words}: {sop_class_uid}")


def syntax_not_supported(transfer_syntax_uid: str) -> Refused:
    """A transfer syntax whose objects can't be kept whole; by C-STORE its presentation context is refused before."""
    words = "Transfer syntax not supported"
    return Refused(0xC122, "intake.syntax", words, f"{words}: {transfer_syntax_uid}")


def failed_here(error: Exception) -> Refused:
    """A fault of WhyRay's own."""
    return Refused(
        0x0110, "intake.fault", "Processing failure", f"a fault of WhyRay: {type(error).__name__}; see the log"
    )
