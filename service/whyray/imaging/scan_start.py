"""When the scan of a PET began, to which its values are corrected where Decay Correction (0054,1102) is START.

That is the series' reference time (PS3.3 sections C.8.9.1 and C.8.9.4). Some devices write the time of reconstruction
there; then it is looked for as by QIBA's vendor-neutral SUV pseudocode. Where GE's own time or Frame Reference Time
tells another by which SUV differs by more than 5 %, there is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from pydicom import Dataset

from whyray.imaging.attributes import attribute_name, decimal_numbers, written_texts
from whyray.imaging.uptake_refusals import refusal, refusal_of

_SECOND = timedelta(seconds=1)
_LONGEST = timedelta(days=366)
"""More than a scan lasts: a Frame Reference Time beyond it is none."""
_ALIKE = math.log2(1.05)
"""Half-lives by which SUV differs by 5 %."""
_DATE_TIME = re.compile(r"(\d{8})(\d{2}|\d{4}|\d{6}(?:\.\d+)?)([+-]\d{4})?")
"""DT (PS3.5 table 6.2-1) to the hour at least."""
_FIRST_YEAR = 1900
_GE = "GEMS_PETD_01"


def scan_start(headers: Mapping[str, Dataset], half_life: float) -> datetime:
    """The moment to which the slices of one volume are corrected; `half_life` in s.

    The series' own time, unless it is later than an image; else GE's, unless that is; else, of a frame of a dynamic
    series, that from which Frame Reference Time counts, and otherwise when the first slice was acquired: what static
    beds count from differs from device to device, so that it is compared alone.

    Raises ImageError, naming the attribute, where none is told or two contradict each other.
    """
    first = next(iter(headers.values()))
    moments = [acquired(header) for header in headers.values()]
    known = [moment for moment in moments if moment is not None]
    if len(known) != len(moments):
        raise refusal(first, "a time at which each image was acquired", "AcquisitionDate", "AcquisitionTime")
    tolerance = _ALIKE * half_life
    latest = min(known) + _SECOND
    series, of_ge = (
        None if moment is None or moment > latest else moment
        for moment in (_one_of(headers, moment_in, tolerance, "SeriesTime") for moment_in in (_series_time, _ge_time))
    )
    counted = _counted_from(headers, half_life)
    if series is not None:
        if of_ge is not None and abs((of_ge - series).total_seconds()) > tolerance:
            expected = f"{attribute_name('SeriesTime')} of {of_ge:%H:%M:%S}, GE's own time of the scan"
            raise refusal_of(first, expected, f"{series:%H:%M:%S}")
        _refuse_contradiction(first, series, counted, tolerance)
        return series
    start = of_ge or counted
    if is_dynamic(headers):
        if start is None:
            expected = (
                "when the scan of this frame began (a Series Time that is not later than it, or Frame Reference Time)"
            )
            raise refusal(first, expected, "SeriesTime", "AcquisitionTime", "FrameReferenceTime")
    else:
        start = of_ge or min(known)
    _refuse_contradiction(first, start, counted, tolerance)
    return start


def is_dynamic(headers: Mapping[str, Dataset]) -> bool:
    """Whether the slices are of a frame of a dynamic series (Series Type, PS3.3 section C.8.9.1.1.4)."""
    return any(written_texts(header, "SeriesType")[0].upper() == "DYNAMIC" for header in headers.values())


def acquired(header: Dataset) -> datetime | None:
    """When an image's acquisition began; None where it does not say it."""
    return moment_of(written_texts(header, "AcquisitionDate")[0], written_texts(header, "AcquisitionTime")[0])


def moment_of(date: str, time: str) -> datetime | None:
    """A date (DA) and a time (TM, from hours on) as one; None where they are none, or of no scan (before 1900)."""
    whole, _, fraction = time.replace(":", "").partition(".")
    day = date.replace(".", "")
    if not (day.isdigit() and len(day) == 8 and whole.isdigit() and len(whole) in (2, 4, 6)):
        return None
    if fraction and not fraction.isdigit():
        return None
    try:
        moment = datetime.strptime(f"{day}{whole:0<6}{fraction[:6]:0<6}", "%Y%m%d%H%M%S%f")
    except ValueError:
        return None
    return moment if _FIRST_YEAR <= moment.year < datetime.max.year else None


def moment_and_zone(written: str) -> tuple[datetime | None, str]:
    """A date and time (DT, to the hour at least), None where it is none, and its offset from UTC, empty without one."""
    parts = _DATE_TIME.fullmatch(written)
    return (None, "") if parts is None else (moment_of(parts[1], parts[2]), parts[3] or "")


def _series_time(header: Dataset) -> datetime | None:
    return moment_of(written_texts(header, "SeriesDate")[0], written_texts(header, "SeriesTime")[0])


def _ge_time(header: Dataset) -> datetime | None:
    """PET scan date and time (0009,xx0d), to which GE corrects."""
    try:
        value = header.private_block(0x0009, _GE)[0x0D].value
    except KeyError:
        return None
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return moment_and_zone(text.strip(" \0"))[0]


def _one_of(
    headers: Mapping[str, Dataset], moment_in: Callable[[Dataset], datetime | None], tolerance: float, keyword: str
) -> datetime | None:
    """The first of the moments that slices tell; None where one tells none."""
    moments = [moment_in(header) for header in headers.values()]
    known = [moment for moment in moments if moment is not None]
    if len(known) != len(moments):
        return None
    if (max(known) - min(known)).total_seconds() > tolerance:
        raise refusal_of(
            next(iter(headers.values())),
            f"one {attribute_name(keyword)} in all slices",
            f"{min(known):%H:%M:%S} to {max(known):%H:%M:%S}",
        )
    return min(known)


def _counted_from(headers: Mapping[str, Dataset], half_life: float) -> datetime | None:
    """From when Frame Reference Time counts; None where a slice does not tell it.

    It is when the counts of a frame are those of its mean activity, so that long into its acquisition. Beds that count
    from their own start tell that of the first.
    """
    moments = []
    for header in headers.values():
        offset, duration = (_positive(header, keyword) for keyword in ("FrameReferenceTime", "ActualFrameDuration"))
        began = acquired(header)
        if began is None or offset is None or duration is None:
            return None
        after = _mean_activity(duration / 1000, half_life) - offset / 1000
        if not abs(after) < _LONGEST.total_seconds():
            return None
        moments.append(began + timedelta(seconds=after))
    return min(moments)


def _mean_activity(duration: float, half_life: float) -> float:
    """How long (s) into a frame the activity is its mean: ln(x / (1 - exp(-x))) / λ, with λ of the decay and x = λT."""
    constant = math.log(2) / half_life
    x = constant * duration
    return duration / 2 if x < 1e-6 else math.log(x / -math.expm1(-x)) / constant


def _positive(header: Dataset, keyword: str) -> float | None:
    (value,) = values if len(values := decimal_numbers(header, keyword)) == 1 else (None,)
    return value if value is not None and value > 0 else None


def _refuse_contradiction(header: Dataset, start: datetime, counted: datetime | None, tolerance: float) -> None:
    if counted is not None and abs((counted - start).total_seconds()) > tolerance:
        raise refusal_of(
            header,
            f"one start of the scan, of {start:%H:%M:%S}",
            f"{attribute_name('FrameReferenceTime')} that counts from {counted:%H:%M:%S}",
        )
