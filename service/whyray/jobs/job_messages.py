"""What a worker and a process of its jobs tell each other, through one connection."""

from __future__ import annotations

from dataclasses import dataclass

from whyray.base.errors import WhyRayError, error_named


@dataclass(frozen=True)
class Order:
    """To the process: work on this job, which `owner` has claimed."""

    job_id: str
    owner: str


@dataclass(frozen=True)
class Stop:
    """To the process: come to an end."""


@dataclass(frozen=True)
class DeviceAsked:
    """From the process: what is to be computed has been read."""


@dataclass(frozen=True)
class DeviceGiven:
    """To the process: the device is its own."""


@dataclass(frozen=True)
class DeviceLeft:
    """From the process: another job may compute."""


@dataclass(frozen=True)
class Ready:
    """From the process: it takes orders. `detail` is what status shows of it."""

    detail: dict[str, str]


@dataclass(frozen=True)
class At:
    """From the process: how far the job is."""

    done: float
    words: str


@dataclass(frozen=True)
class Done:
    """From the process: the job is done, and entered in the catalog."""


@dataclass(frozen=True)
class Failed:
    """From the process: the job, or the start, went wrong."""

    code: str
    message: str
    advice: str
    in_service: str

    @classmethod
    def of(cls, error: WhyRayError) -> Failed:
        """The message of an error."""
        return cls(error.code, error.message, error.advice, error.in_service)

    def error(self) -> WhyRayError:
        """The error that it was made of, of the same class."""
        return error_named(self.code, self.message, advice=self.advice, in_service=self.in_service)
