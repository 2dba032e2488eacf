"""The one error taxonomy: what went wrong, whether trying again can help, and what an operator should do.

Whether a failure is permanent or retriable is a property of its class, decided where it is raised and obeyed
everywhere: the queue, the delivery and the command line all ask `error.retriable` and nothing else. Whether an
operator can mend the cause, so that *Retry* makes sense, is one too: `error.correctable`.
An error is raised where nobody knows how often the work will be tried: its advice never promises another attempt. Who
decides on it says so.
No message may carry a patient's name or identifier; UIDs are allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from whyray.base.shown import printable


class WhyRayError(Exception):
    """Base of all errors that WhyRay raises on purpose.

    Parameters
    ----------
    message
        What was expected and what was found, with the UID or name of the thing concerned.
    advice
        What the operator should do, wherever it was raised; the class's own advice where none is given.
    in_service
        What an operator of the service may do besides, in routes and destinations; never told on the command line.
    """

    retriable: ClassVar[bool] = False
    """Whether the same attempt may succeed later, with nobody doing anything."""
    correctable: ClassVar[bool] = False
    """Whether the same work may succeed once an operator has put something right: then it may be retried by hand."""
    waited_out: ClassVar[bool] = False
    """Whether it is an outage that all work meets: waited out for as long as it lasts, and no attempt of one's own."""
    not_within: timedelta | None = None
    """How long the other side asks to be left alone; None where it does not say."""
    default_advice: ClassVar[str] = "Look up the message in docs/operate.md."
    default_in_service: ClassVar[str] = ""
    """Goes with the default advice only."""

    def __init__(self, message: str, *, advice: str | None = None, in_service: str | None = None) -> None:
        # a message may name a file, and a file's name may hold what no log, database or terminal takes
        self.message = printable(message, keep="\n\t")
        super().__init__(self.message)
        self.advice = printable(advice or self.default_advice, keep="\n\t")
        default = self.default_in_service if advice is None else ""
        self.in_service = default if in_service is None else in_service

    @property
    def code(self) -> str:
        """The class's name: what catalogs, metrics and pages file this failure under."""
        return type(self).__name__


class PermanentError(WhyRayError):
    """Doing the same thing again gives the same failure."""


class RetriableError(WhyRayError):
    """The same thing may succeed later; the queue tries again with back-off.

    Parameters
    ----------
    not_within
        How long the other side asks to be left alone; None where it does not say.
    """

    retriable = True
    correctable = True
    default_advice = "Look at the other side if this lasts."

    def __init__(
        self,
        message: str,
        *,
        advice: str | None = None,
        in_service: str | None = None,
        not_within: timedelta | None = None,
    ) -> None:
        super().__init__(message, advice=advice, in_service=in_service)
        self.not_within = not_within


# --- configuration -----------------------------------------------------------------------------------------------
class ConfigError(PermanentError):
    """An option, or a configuration or template file, can't be obeyed; `line` (1-based) where it is of a file's."""

    correctable = True
    default_advice = "Correct what is named."
    advice_of_file: ClassVar[str] = (
        "Correct the file at the line named; `whyray config check` tells whether it is right."
    )

    def __init__(self, message: str, *, line: int | None = None, advice: str | None = None) -> None:
        if line is not None:
            message, advice = f"line {line}: {message}", advice or self.advice_of_file
        super().__init__(message, advice=advice)
        self.line = line


class CatalogNewer(PermanentError):  # noqa: N818
    """The catalog's schema is that of a later version of WhyRay, which this one can't read safely."""

    correctable = True
    default_advice = (
        "Run the version of WhyRay that brought the catalog there, or a later one; or restore the backup that was "
        "taken before that version first ran."
    )


class CatalogDamaged(PermanentError):  # noqa: N818
    """The catalog's file is no whole database: a broken disk, or a copy of the file alone."""

    correctable = True
    default_advice = (
        "Stop WhyRay, keep the damaged file for whoever looks into it, and restore the last backup (docs/backup.md)."
    )


# --- packages and models -----------------------------------------------------------------------------------------
class PackageError(PermanentError):
    """A model package is missing, incomplete, changed behind its report, or its graph does not load."""

    correctable = True
    default_advice = "Correct the package's files or its model.yaml, or install it again."
    default_in_service = "`whyray package check NAME` shows all that is wrong with it."


class TierMissing(PermanentError):  # noqa: N818 - named for what is missing
    """A method needs more of a model than this model can give."""

    correctable = True
    default_advice = "Take another method, or a package whose report shows the tier that this method needs."


class ArtefactMissing(PermanentError):  # noqa: N818 - named for what is missing
    """A method needs a reference artefact or a companion package that this package does not have."""

    correctable = True
    default_advice = "Make the artefact for this package, or take a method that needs none."


class ModelOutputError(PermanentError):
    """A model answered with NaN, infinity or a shape that its manifest does not promise."""

    default_advice = "Try the study with `whyray explain`; report the case to the package's author."


# --- images ------------------------------------------------------------------------------------------------------
class ImageError(PermanentError):
    """The pixels or the geometry of a study don't give what the package needs."""

    default_advice = "Look at the study in a viewer: the image does not give what the package needs."
    default_in_service = "Narrow the route's `when` if such studies should not come here."


class DecodeError(ImageError):
    """Pixel data is truncated, absent, or in a transfer syntax that can't be decoded."""


class GeometryError(ImageError):
    """Slices can't be sorted into one volume: mixed orientations, missing positions, no slices."""


# --- explanations ------------------------------------------------------------------------------------------------
class ExplanationError(PermanentError):
    """A method can't explain this answer; the result says so instead of showing a picture."""

    default_advice = "The answer itself stands; ask for another method."
    default_in_service = "The route's `explain` names them."


# --- network -----------------------------------------------------------------------------------------------------
class PeerUnreachable(RetriableError):  # noqa: N818
    """No connection, an aborted association, or no answer in time."""

    default_advice = "Check that the peer runs and that host, port and firewall are right."


class PeerBusy(RetriableError):  # noqa: N818
    """The peer answered with a status that says 'later' (A7xx, or a transient rejection)."""

    default_advice = "Look at the peer's log and its free disk: it says that it can't take this at present."


class PeerRefused(PermanentError):  # noqa: N818
    """The peer rejected the association or the object for good."""

    correctable = True
    default_advice = "Ask the peer's administrator to accept WhyRay's AE title and these SOP classes, then retry."


class WorkitemInvalid(PermanentError):  # noqa: N818
    """A workitem or a change of one lacks what PS3.4 table CC.2.5-3 wants, or names another Transaction UID."""

    default_advice = "Correct the request; docs/worklist.md lists what a workitem needs."


class WorkitemConflict(PermanentError):  # noqa: N818
    """The state of a workitem does not allow this: claimed by somebody else, or closed."""

    default_advice = "Retrieve the workitem to see its state."


# --- work --------------------------------------------------------------------------------------------------------
class Cancelled(PermanentError):  # noqa: N818
    """An administrator cancelled the work; never retried, never counted as a failure."""

    correctable = True
    default_advice = "Retry the job to run it after all."


class LeaseLost(RetriableError):  # noqa: N818
    """Another worker holds this job now; this one stops without writing anything."""

    default_advice = "Nothing is to be done: the other worker has the job."


class WorkerLost(PermanentError):  # noqa: N818
    """Worker after worker was lost in the same job: killed, or cut off from the catalog."""

    correctable = True
    default_advice = "Look at the workers' logs for how they ended; then retry the job."


class NativeCrash(PermanentError):  # noqa: N818
    """Native code, of a decoder or of what runs the model, ended the process that worked on a job."""

    correctable = True
    default_advice = "Try the study with `whyray explain`, and report it to the package's author; then retry."


class ProcessKilled(RetriableError):  # noqa: N818
    """Somebody ended the process that worked on a job, and it was not for want of memory."""

    default_advice = "Find out who ends processes on this machine."


class RoleLost(RetriableError):  # noqa: N818
    """A role's process ended without telling why: killed for memory, by somebody, or by a fault in native code."""

    default_advice = "Look at the role's log, and at the machine's for a want of memory; it is started again."


class TimeLimit(PermanentError):  # noqa: N818
    """A job ran longer than its route's `budget: {job_time: …}`."""

    correctable = True
    default_advice = "Raise budget.job_time in the route, ask for fewer or cheaper methods, or give the worker a GPU."


class InternalError(PermanentError):
    """A defect in WhyRay or in a library that it uses; the worker's log holds the trace."""

    correctable = True
    default_advice = "Report it with the log of the process; the study itself may be fine. Retry after an update."


class InputChanged(PermanentError):  # noqa: N818
    """The instances that a job was created for are not all there any more."""

    default_advice = "Send the study again from the PACS."


class PatientMismatch(PermanentError):  # noqa: N818 - the field's word for it
    """Instances of one study name two patients: nothing is made of it, for it would be filed under one of them."""

    default_advice = (
        "Look up in the PACS whose images these are. Have those under the wrong patient corrected, or moved to a study "
        "of their own, and the study sent again."
    )


class SealBroken(PermanentError):  # noqa: N818
    """What was encrypted at rest can't be opened: damaged, changed, or sealed with a key that is not named."""

    correctable = True
    default_advice = (
        "Name the key under storage.encryption.former; if it is named, the disk or somebody changed the bytes."
    )


class EngineFailed(RetriableError):  # noqa: N818
    """What runs a model failed in a way that does not follow from the model: device, driver or memory."""

    default_advice = "Look at the log for what failed, and at this machine's devices and memory."


class ResourceExhausted(RetriableError):  # noqa: N818
    """Not enough memory or disk for this job at present."""

    default_advice = "Free disk or memory on this machine."


class StorageUnavailable(ResourceExhausted):
    """The folder of images and results is full, away, or can't be read or written: a disk, a share, changed rights."""

    waited_out = True
    default_advice = (
        "Check that the disk or share that holds it is mounted, answers and has room, and that the user whom WhyRay "
        "runs as may read and write it."
    )


class NotFound(PermanentError):  # noqa: N818
    """No such study, job, result, route, destination or package."""

    correctable = True
    default_advice = "List what exists: `whyray status`, `whyray package list`."


class AccessRefused(PermanentError):  # noqa: N818
    """Somebody is not let in."""

    correctable = True
    default_advice = "Try again; if it stays so, an administrator finds the reason among the events."


class TransitionError(PermanentError):
    """A state change that the transition table doesn't allow."""

    default_advice = "docs/states-events-metrics.md lists which state can become which."


# --- by name -----------------------------------------------------------------------------------------------------
def uncorrectable_codes() -> frozenset[str]:
    """The codes under which failures are filed that come back whatever an operator does: a retry is not offered.

    A code that no class has, as of an earlier version, is not among them.
    """
    return frozenset(kind.__name__ for kind in _kinds(WhyRayError) if not kind.correctable)


def error_named(code: str, message: str, *, advice: str, in_service: str = "") -> WhyRayError:
    """The error that another process has told by its code; an InternalError where no class has that name."""
    kind = next((kind for kind in _kinds(WhyRayError) if kind.__name__ == code), InternalError)
    error = kind(message, advice=advice)
    error.in_service = in_service
    return error


def _kinds(kind: type[WhyRayError]) -> Iterator[type[WhyRayError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _kinds(subclass)
