"""Why standardised uptake values can't be computed of a PET: errors that name the attribute and say what to send."""

from __future__ import annotations

from pydicom import Dataset

from whyray.base.errors import ImageError
from whyray.imaging.attributes import attribute_name, written_value

ADVICE = "Send PET in SUV (Units GML, or a Real World Value Mapping to it), or with what SUV is computed from."


def refuse_several(header: Dataset, what: str, count: int) -> None:
    """ImageError where slices of one volume do not say one and the same."""
    if count != 1:
        raise refusal_of(header, f"one {what} in all slices", str(count))


def refusal(header: Dataset, expected: str, *keywords: str, holder: Dataset | None = None) -> ImageError:
    """What was expected, and what stands in these attributes of `holder`: the header, or an item in it."""
    given = " and ".join(
        f"{attribute_name(keyword)} {written_value(header if holder is None else holder, keyword)}"
        for keyword in keywords
    )
    return refusal_of(header, expected, given)


def refusal_of(header: Dataset, expected: str, found: str) -> ImageError:
    """Both in words."""
    return ImageError(
        f"series {header.get('SeriesInstanceUID')}: expected {expected}, found {found}: SUV can't be computed",
        advice=ADVICE,
    )
