"""Standardised uptake values by body weight of PET, as QIBA's vendor-neutral pseudocode computes them.

'SUV vendor-neutral pseudocode: happy path only', Quantitative Imaging Biomarkers Alliance, FDG-PET/CT Technical
Committee, 2012; attributes: PS3.3 sections C.8.9.1, C.8.9.2 and C.8.9.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import Dataset

from whyray.base.errors import ImageError
from whyray.imaging.acquisition import number_in
from whyray.imaging.attributes import attribute_name, decimal_numbers, written_texts, written_value
from whyray.imaging.scan_start import acquired, is_dynamic, moment_and_zone, moment_of, scan_start
from whyray.imaging.uptake_refusals import refusal, refusal_of, refuse_several

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
_PHILIPS = "Philips PET Private Group"
_TRACER = "RadiopharmaceuticalInformationSequence"


@dataclass(frozen=True)
class _Uptake:
    """What the values of one instance are divided by: a dose (Bq) for a body (g), as long before the scan as it was."""

    weight: float
    dose: float
    half_life: float
    at_injection: bool
    """Whether values are decay corrected to the injection, and not to the scan's start."""


def uptake_per_value(headers: Mapping[str, Dataset]) -> float:
    """By what the modality values of a PET volume are multiplied to be SUV by body weight, in g/ml.

    Raises ImageError, naming the attribute, where they are none and can't be made any.
    """
    header = next(iter(headers.values()))
    units = written_texts(header, "Units")[0].upper()
    if units == "GML":
        if written_texts(header, "SUVType")[0].upper() not in ("", "BW"):
            raise refusal(header, "SUV by body weight", "SUVType")
        return 1.0
    if units == "CNTS":
        factors = {_philips_factor(of_slice) for of_slice in headers.values()}
        refuse_several(header, "SUV scale factor (7053,xx00)", len(factors))
        return factors.pop()
    if units != "BQML":
        raise refusal(header, "SUV, or values that it can be computed from", "Units")
    uptake = _uptake(headers)
    if uptake.at_injection:
        return uptake.weight / uptake.dose
    scanned = scan_start(headers, uptake.half_life)
    halvings = (scanned - _injection(headers, scanned, uptake.half_life)).total_seconds() / uptake.half_life
    ahead = _STARTED_AHEAD.total_seconds() / uptake.half_life if is_dynamic(headers) else 0.0
    if not -ahead <= halvings <= LONGEST_DECAY:
        hours = halvings * uptake.half_life / 3600
        raise refusal_of(
            header,
            f"a scan up to {LONGEST_DECAY:g} half-lives after the injection",
            f"one {abs(hours):.3g} h {'after' if hours > 0 else 'before'} it",
        )
    return float(uptake.weight / (uptake.dose * 2.0**-halvings))


def is_before_uptake(headers: Mapping[str, Dataset]) -> bool:
    """Whether PET in Bq/ml is a frame of a dynamic series from before the tracer can be seen to have come.

    By the middle of its acquisition (Acquisition Time, Actual Frame Duration) and the time of injection, whichever of
    both its values are corrected to. Nothing of it is known where one of these is not told.
    """
    if not is_dynamic(headers):
        return False
    for header in headers.values():
        began, durations = acquired(header), decimal_numbers(header, "ActualFrameDuration")
        if began is None or len(durations) != 1 or durations[0] is None:
            return False
        try:
            injected = _injected(header, _tracer(header), began, _uptake_of(header).half_life)
        except ImageError:
            return False
        if durations[0] / 2000 > (injected + _ARRIVED - began).total_seconds():
            return False
    return True


def refuse_uncorrected(header: Dataset) -> None:
    """ImageError where a PET says that it is not corrected for attenuation or decay, whatever else it says of SUV."""
    corrected = [value.upper() for value in written_texts(header, "CorrectedImage")]
    if any(corrected) and not {"ATTN", "DECY"} <= set(corrected):
        raise refusal(header, "images corrected for attenuation (ATTN) and decay (DECY)", "CorrectedImage")
    for keyword in ("AttenuationCorrected", "DecayCorrected"):
        if written_texts(header, keyword)[0].upper() == "NO":
            raise refusal(header, "images corrected for attenuation and decay", keyword)


def _uptake(headers: Mapping[str, Dataset]) -> _Uptake:
    uptakes = {_uptake_of(header) for header in headers.values()}
    refuse_several(next(iter(headers.values())), "weight, dose and half-life", len(uptakes))
    return uptakes.pop()


def _uptake_of(header: Dataset) -> _Uptake:
    if not any(written_texts(header, "CorrectedImage")):
        raise refusal(header, "images corrected for attenuation (ATTN) and decay (DECY)", "CorrectedImage")
    refuse_uncorrected(header)
    tracer = _tracer(header)
    correction = written_texts(header, "DecayCorrection")[0].upper()
    if correction not in ("START", "ADMIN"):
        raise refusal(header, "decay corrected to the start of the scan (START) or to the injection", "DecayCorrection")
    half_life = _half_life(header, tracer)
    weight = _number(header, header, "PatientWeight", "a weight in kg", WEIGHTS)
    dose = _number(header, tracer, "RadionuclideTotalDose", "a dose in Bq", _DOSES)
    if not _DOSES_PER_WEIGHT[0] <= dose / weight <= _DOSES_PER_WEIGHT[1]:
        expected = f"a dose in Bq, of {_DOSES_PER_WEIGHT[0]:g} to {_DOSES_PER_WEIGHT[1]:g} for each kg of the patient"
        raise refusal(header, expected, "RadionuclideTotalDose", holder=tracer)
    return _Uptake(1000 * weight, dose, half_life, correction == "ADMIN")


def _tracer(header: Dataset) -> Dataset:
    tracers = header.get(_TRACER) or []
    if len(tracers) != 1:
        raise refusal_of(header, f"one item in {attribute_name(_TRACER)}", str(len(tracers)))
    tracer: Dataset = tracers[0]
    return tracer


def _half_life(header: Dataset, tracer: Dataset) -> float:
    """In s: as it is written, where the nuclide's code does not say another."""
    half_life = _number(header, tracer, "RadionuclideHalfLife", "a number above 0")
    codes = tracer.get("RadionuclideCodeSequence") or []
    known = next((HALF_LIVES[code] for item in codes if (code := written_texts(item, "CodeValue")[0]) in HALF_LIVES), 0)
    if known and abs(half_life / known - 1) > _SAME_HALF_LIFE:
        nuclide = written_value(codes[0], "CodeMeaning")
        raise refusal(header, f"the {known:g} s of {nuclide}", "RadionuclideHalfLife", holder=tracer)
    return half_life


def _injection(headers: Mapping[str, Dataset], scanned: datetime, half_life: float) -> datetime:
    moments = {_injected(header, _tracer(header), scanned, half_life) for header in headers.values()}
    refuse_several(next(iter(headers.values())), "time of injection", len(moments))
    return moments.pop()


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
    at = moment_of(f"{scanned:%Y%m%d}", of_day)
    if exact:
        moment, zone = moment_and_zone(exact)
        of_scan = written_texts(header, "TimezoneOffsetFromUTC")[0]
        zones = {zone for zone in (zone, of_scan) if zone}
        at_another_time = moment is not None and at is not None and abs(_of_day(moment) - _of_day(at)) >= _SECOND
        if moment is None or at_another_time or len(zones) > 1:
            raise refusal(header, "one time of injection", *written, holder=tracer)
        if zone and at is None and not of_scan:
            # the scan's times are local ones, of a zone that nothing tells
            expected = f"{attribute_name('TimezoneOffsetFromUTC')} of the scan's times beside {zone} of the injection's"
            raise refusal(header, expected, *written, holder=tracer)
        return moment
    if at is None:
        raise refusal(header, "a time of injection", *written, holder=tracer)
    longest = LONGEST_DECAY * half_life
    if longest > (_DAY - _EARLY).total_seconds():
        expected = f"the date of injection beside its time, for a half-life of {half_life / 3600:.3g} h"
        raise refusal(header, expected, "RadiopharmaceuticalStartDateTime", holder=tracer)
    day_before = at - _DAY
    return day_before if at > scanned and (scanned - day_before).total_seconds() <= longest else at


def _of_day(moment: datetime) -> timedelta:
    return moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _philips_factor(header: Dataset) -> float:
    """SUV by body weight per value, as Philips writes it beside counts (7053,xx00)."""
    try:
        value = header.private_block(0x7053, _PHILIPS)[0x00].value
        factor = number_in(value.decode("latin-1") if isinstance(value, bytes) else str(value))
    except KeyError:
        factor = None
    if factor is None or factor <= 0:
        raise refusal(header, "SUV, or counts with Philips' SUV scale factor (7053,xx00)", "Units")
    return factor


def _number(
    header: Dataset, holder: Dataset, keyword: str, expected: str, within: tuple[float, float] | None = None
) -> float:
    (value,) = values if len(values := decimal_numbers(holder, keyword)) == 1 else (None,)
    if value is None or value <= 0:
        raise refusal(header, expected, keyword, holder=holder)
    if within is not None and not within[0] <= value <= within[1]:
        raise refusal(header, f"{expected} from {within[0]:g} to {within[1]:g}", keyword, holder=holder)
    return value
