"""Standardised uptake values by body weight of PET, as QIBA's vendor-neutral pseudocode computes them.

'SUV vendor-neutral pseudocode: happy path only', Quantitative Imaging Biomarkers Alliance, FDG-PET/CT Technical
Committee, 2012; attributes: PS3.3 sections C.8.9.1, C.8.9.2 and C.8.9.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import Dataset

from whyray.base.errors import ImageError
from whyray.imaging.acquisition import number_in
from whyray.imaging.attributes import attribute_name, decimal_numbers, written_texts, written_value

LONGEST_DECAY = 10.0
"""Half-lives between injection and scan beyond which a date or a time must be wrong."""

_EARLY = timedelta(hours=1)
"""More than a scan starts before the injection: a dynamic one does so, by seconds or minutes."""
_DOSES, _WEIGHTS = (1e5, 1e11), (0.2, 700.0)
"""Bq and kg that can be meant: 370 is a dose in MBq, 70000 a weight in g."""
_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_DATE_TIME = re.compile(r"(\d{8})(\d{2}|\d{4}|\d{6}(?:\.\d+)?)([+-]\d{4})?")
"""DT (PS3.5 table 6.2-1) to the hour at least."""
_PHILIPS = "Philips PET Private Group"
_TRACER = "RadiopharmaceuticalInformationSequence"
_ADVICE = "Send PET in SUV (Units GML), or with what SUV is computed from."


@dataclass(frozen=True)
class _Uptake:
    """What the values of one instance are divided by: a dose (Bq) for a body (g), as long before the scan as it was."""

    weight: float
    dose: float
    half_life: float
    injected: datetime | None
    """None where values are decay corrected to the injection."""


def uptake_per_value(headers: Mapping[str, Dataset]) -> float:
    """By what the modality values of a PET volume are multiplied to be SUV by body weight, in g/ml.

    Raises ImageError, naming the attribute, where they are none and can't be made any.
    """
    header = next(iter(headers.values()))
    units = written_texts(header, "Units")[0].upper()
    if units == "GML":
        if written_texts(header, "SUVType")[0].upper() not in ("", "BW"):
            raise _refusal(header, "SUV by body weight", "SUVType")
        return 1.0
    if units == "CNTS":
        factors = {_philips_factor(of_slice) for of_slice in headers.values()}
        _refuse_several(header, "SUV scale factor (7053,xx00)", len(factors))
        return factors.pop()
    if units != "BQML":
        raise _refusal(header, "SUV, or values that it can be computed from", "Units")
    scanned = _scan_start(headers)
    uptakes = {_uptake(of_slice, scanned) for of_slice in headers.values()}
    _refuse_several(header, "weight, dose and injection", len(uptakes))
    (uptake,) = uptakes
    if uptake.injected is None:
        return uptake.weight / uptake.dose
    halvings = (scanned - uptake.injected).total_seconds() / uptake.half_life
    if not 0 <= halvings <= LONGEST_DECAY:
        hours = halvings * uptake.half_life / 3600
        raise ImageError(
            f"{_series(header)}: expected a scan up to {LONGEST_DECAY:g} half-lives after the injection, found one "
            f"{abs(hours):.3g} h {'after' if hours > 0 else 'before'} it: SUV can't be computed",
            advice=_ADVICE,
        )
    return float(uptake.weight / (uptake.dose * 2.0**-halvings))


def _uptake(header: Dataset, scanned: datetime) -> _Uptake:
    corrected = {value.upper() for value in written_texts(header, "CorrectedImage")}
    if not {"ATTN", "DECY"} <= corrected:
        raise _refusal(header, "images corrected for attenuation (ATTN) and decay (DECY)", "CorrectedImage")
    tracers = header.get(_TRACER) or []
    if len(tracers) != 1:
        raise ImageError(
            f"{_series(header)}: expected one item in {attribute_name(_TRACER)}, found {len(tracers)}: SUV can't be "
            "computed",
            advice=_ADVICE,
        )
    correction = written_texts(header, "DecayCorrection")[0].upper()
    if correction not in ("START", "ADMIN"):
        raise _refusal(
            header, "decay corrected to the start of the scan (START) or to the injection", "DecayCorrection"
        )
    half_life = _number(header, tracers[0], "RadionuclideHalfLife", "a number above 0")
    return _Uptake(
        1000 * _number(header, header, "PatientWeight", "a weight in kg", _WEIGHTS),
        _number(header, tracers[0], "RadionuclideTotalDose", "a dose in Bq", _DOSES),
        half_life,
        _injected(header, tracers[0], scanned, half_life) if correction == "START" else None,
    )


def _injected(header: Dataset, tracer: Dataset, scanned: datetime, half_life: float) -> datetime:
    """When the tracer was given: by date and time, else by its time alone where that can be of one day only.

    QIBA takes the day of the scan, or the day before, which holds for FDG: of a tracer that lasts the time may be of
    any day of a week.
    """
    written = {
        keyword: written_texts(tracer, keyword)[0]
        for keyword in ("RadiopharmaceuticalStartDateTime", "RadiopharmaceuticalStartTime")
    }
    exact, of_day = written.values()
    at = _moment(f"{scanned:%Y%m%d}", of_day)
    if exact:
        parts = _DATE_TIME.fullmatch(exact)
        moment = None if parts is None else _moment(parts[1], parts[2])
        zones = {zone for zone in (parts and parts[3], written_texts(header, "TimezoneOffsetFromUTC")[0]) if zone}
        at_another_time = moment is not None and at is not None and abs(_of_day(moment) - _of_day(at)) >= _SECOND
        if moment is None or at_another_time or len(zones) > 1:
            raise _refusal(header, "one time of injection", *written, holder=tracer)
        return moment
    if at is None:
        raise _refusal(header, "a time of injection", *written, holder=tracer)
    longest = LONGEST_DECAY * half_life
    if longest > (_DAY - _EARLY).total_seconds():
        expected = f"the date of injection beside its time, for a half-life of {half_life / 3600:.3g} h"
        raise _refusal(header, expected, "RadiopharmaceuticalStartDateTime", holder=tracer)
    day_before = at - _DAY
    return day_before if at > scanned and (scanned - day_before).total_seconds() <= longest else at


def _of_day(moment: datetime) -> timedelta:
    return moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _scan_start(headers: Mapping[str, Dataset]) -> datetime:
    """The series' reference time, unless it was made later than its images: then when the first was acquired."""
    first = next(iter(headers.values()))
    series = [_moment_of(header, "SeriesDate", "SeriesTime") for header in headers.values()]
    acquired = [_moment_of(header, "AcquisitionDate", "AcquisitionTime") for header in headers.values()]
    earliest = min((moment for moment in acquired if moment is not None), default=None)
    reference = series[0]
    if reference is not None and (earliest is None or reference <= earliest):
        return reference
    if earliest is None or None in acquired:
        raise _refusal(first, "a time of the scan", "SeriesTime", "AcquisitionTime")
    return earliest


def _moment_of(header: Dataset, date: str, time: str) -> datetime | None:
    return _moment(written_texts(header, date)[0], written_texts(header, time)[0])


def _moment(date: str, time: str) -> datetime | None:
    """A date (DA) and a time (TM, from hours on) as one; None where they are none."""
    whole, _, fraction = time.replace(":", "").partition(".")
    day = date.replace(".", "")
    if not (day.isdigit() and len(day) == 8 and whole.isdigit() and len(whole) in (2, 4, 6)):
        return None
    if fraction and not fraction.isdigit():
        return None
    try:
        return datetime.strptime(f"{day}{whole:0<6}{fraction[:6]:0<6}", "%Y%m%d%H%M%S%f")
    except ValueError:
        return None


def _philips_factor(header: Dataset) -> float:
    """SUV by body weight per value, as Philips writes it beside counts (7053,xx00)."""
    try:
        value = header.private_block(0x7053, _PHILIPS)[0x00].value
        factor = number_in(value.decode("latin-1") if isinstance(value, bytes) else str(value))
    except KeyError:
        factor = None
    if factor is None or factor <= 0:
        raise _refusal(header, "SUV, or counts with Philips' SUV scale factor (7053,xx00)", "Units")
    return factor


def _number(
    header: Dataset, holder: Dataset, keyword: str, expected: str, within: tuple[float, float] | None = None
) -> float:
    (value,) = values if len(values := decimal_numbers(holder, keyword)) == 1 else (None,)
    if value is None or value <= 0:
        raise _refusal(header, expected, keyword, holder=holder)
    if within is not None and not within[0] <= value <= within[1]:
        raise _refusal(header, f"{expected} from {within[0]:g} to {within[1]:g}", keyword, holder=holder)
    return value


def _refuse_several(header: Dataset, what: str, count: int) -> None:
    if count != 1:
        raise ImageError(
            f"{_series(header)}: expected one {what} in all slices, found {count}: SUV can't be computed",
            advice=_ADVICE,
        )


def _refusal(header: Dataset, expected: str, *keywords: str, holder: Dataset | None = None) -> ImageError:
    given = " and ".join(
        f"{attribute_name(keyword)} {written_value(header if holder is None else holder, keyword)}"
        for keyword in keywords
    )
    return ImageError(
        f"{_series(header)}: expected {expected}, found {given}: SUV can't be computed",
        advice=_ADVICE,
    )


def _series(header: Dataset) -> str:
    return f"series {header.get('SeriesInstanceUID')}"
