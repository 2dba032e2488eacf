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
_STARTED_AHEAD = timedelta(minutes=5)
"""Most that a dynamic scan (Series Type) starts before the injection, for values that are corrected to its start."""
_ARRIVED = timedelta(minutes=2)
"""After the injection, by which what is given into a vein is anywhere in the body."""
_DOSES, WEIGHTS = (1e5, 1e11), (0.2, 700.0)
"""Bq and kg that can be meant: 370 is a dose in MBq, 70000 a weight in g."""
_DOSES_PER_WEIGHT = (5e4, 1e9)
"""Bq/kg. Ten MBq of Zr-89 in 100 kg are 1e5, 2.2 GBq of Rb-82 in 70 kg 3e7, 10 MBq in a mouse 4e8; those in kBq are
no more than 3e4."""
HALF_LIVES: dict[str, float] = {
    **dict.fromkeys(("77004003", "C-111A1"), 6586.2),  # F-18
    **dict.fromkeys(("40565003", "C-105A1"), 1221.8),  # C-11
    **dict.fromkeys(("21576001", "C-107A1"), 597.9),  # N-13
    **dict.fromkeys(("129504001", "C-B1038"), 122.2),  # O-15
    **dict.fromkeys(("35337001", "C-131A3"), 4062.6),  # Ga-68
    **dict.fromkeys(("79197006", "C-159A2"), 75.5),  # Rb-82
    **dict.fromkeys(("63360001", "C-168A4"), 282276.0),  # Zr-89
    **dict.fromkeys(("3932008", "C-127A2"), 45721.0),  # Cu-64
    **dict.fromkeys(("40937006", "C-114A5"), 360806.0),  # I-124
    **dict.fromkeys(("422934004", "C-127A5"), 580.4),  # Cu-62
}
"""In s, by the nuclide's code: PS3.16 CID 4020, in SNOMED CT and as it was coded before."""
_SAME_HALF_LIFE = 0.03
"""Shares by which evaluations of one half-life differ."""
_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_DATE_TIME = re.compile(r"(\d{8})(\d{2}|\d{4}|\d{6}(?:\.\d+)?)([+-]\d{4})?")
"""DT (PS3.5 table 6.2-1) to the hour at least."""
_PHILIPS = "Philips PET Private Group"
_TRACER = "RadiopharmaceuticalInformationSequence"
_ADVICE = "Send PET in SUV (Units GML, or a Real World Value Mapping to it), or with what SUV is computed from."


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
    ahead = _STARTED_AHEAD.total_seconds() / uptake.half_life if _is_dynamic(headers) else 0.0
    if not -ahead <= halvings <= LONGEST_DECAY:
        hours = halvings * uptake.half_life / 3600
        raise ImageError(
            f"{_series(header)}: expected a scan up to {LONGEST_DECAY:g} half-lives after the injection, found one "
            f"{abs(hours):.3g} h {'after' if hours > 0 else 'before'} it: SUV can't be computed",
            advice=_ADVICE,
        )
    return float(uptake.weight / (uptake.dose * 2.0**-halvings))


def is_before_uptake(headers: Mapping[str, Dataset]) -> bool:
    """Whether PET in Bq/ml is a frame of a dynamic series from before the tracer can be seen to have come.

    By Frame Reference Time (PS3.3 section C.8.9.4), which counts from the series' start, and Decay Correction START.
    ImageError as of `uptake_per_value`.
    """
    if not _is_dynamic(headers):
        return False
    scanned = _scan_start(headers)
    for header in headers.values():
        injected, offset = _uptake(header, scanned).injected, decimal_numbers(header, "FrameReferenceTime")
        if injected is None or len(offset) != 1 or offset[0] is None:
            return False
        if offset[0] / 1000 > (injected + _ARRIVED - scanned).total_seconds():
            return False
    return True


def _is_dynamic(headers: Mapping[str, Dataset]) -> bool:
    return all(written_texts(header, "SeriesType")[0].upper() == "DYNAMIC" for header in headers.values())


def refuse_uncorrected(header: Dataset) -> None:
    """ImageError where a PET says that it is not corrected for attenuation or decay, whatever else it says of SUV."""
    corrected = [value.upper() for value in written_texts(header, "CorrectedImage")]
    if any(corrected) and not {"ATTN", "DECY"} <= set(corrected):
        raise _refusal(header, "images corrected for attenuation (ATTN) and decay (DECY)", "CorrectedImage")
    for keyword in ("AttenuationCorrected", "DecayCorrected"):
        if written_texts(header, keyword)[0].upper() == "NO":
            raise _refusal(header, "images corrected for attenuation and decay", keyword)


def _uptake(header: Dataset, scanned: datetime) -> _Uptake:
    if not any(written_texts(header, "CorrectedImage")):
        raise _refusal(header, "images corrected for attenuation (ATTN) and decay (DECY)", "CorrectedImage")
    refuse_uncorrected(header)
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
    half_life = _half_life(header, tracers[0])
    weight = _number(header, header, "PatientWeight", "a weight in kg", WEIGHTS)
    dose = _number(header, tracers[0], "RadionuclideTotalDose", "a dose in Bq", _DOSES)
    if not _DOSES_PER_WEIGHT[0] <= dose / weight <= _DOSES_PER_WEIGHT[1]:
        expected = f"a dose in Bq, of {_DOSES_PER_WEIGHT[0]:g} to {_DOSES_PER_WEIGHT[1]:g} for each kg of the patient"
        raise _refusal(header, expected, "RadionuclideTotalDose", holder=tracers[0])
    return _Uptake(
        1000 * weight,
        dose,
        half_life,
        _injected(header, tracers[0], scanned, half_life) if correction == "START" else None,
    )


def _half_life(header: Dataset, tracer: Dataset) -> float:
    """In s: as it is written, where the nuclide's code does not say another."""
    half_life = _number(header, tracer, "RadionuclideHalfLife", "a number above 0")
    codes = tracer.get("RadionuclideCodeSequence") or []
    known = next((HALF_LIVES[code] for item in codes if (code := written_texts(item, "CodeValue")[0]) in HALF_LIVES), 0)
    if known and abs(half_life / known - 1) > _SAME_HALF_LIFE:
        nuclide = written_value(codes[0], "CodeMeaning")
        raise _refusal(header, f"the {known:g} s of {nuclide}", "RadionuclideHalfLife", holder=tracer)
    return half_life


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
        zone = None if parts is None else parts[3]
        of_scan = written_texts(header, "TimezoneOffsetFromUTC")[0]
        zones = {zone for zone in (zone, of_scan) if zone}
        at_another_time = moment is not None and at is not None and abs(_of_day(moment) - _of_day(at)) >= _SECOND
        if moment is None or at_another_time or len(zones) > 1:
            raise _refusal(header, "one time of injection", *written, holder=tracer)
        if zone and at is None and not of_scan:
            # the scan's times are local ones, of a zone that nothing tells
            expected = f"{attribute_name('TimezoneOffsetFromUTC')} of the scan's times beside {zone} of the injection's"
            raise _refusal(header, expected, *written, holder=tracer)
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
