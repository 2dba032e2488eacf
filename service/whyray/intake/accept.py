"""Which media type a client wants its answer in: RFC 9110 section 12.5.1, PS3.18 section 8.7."""

from __future__ import annotations

from collections.abc import Sequence


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """The media type among `offered` that an Accept header gives the highest weight; None if it wants none of them.

    Of equal weights the one that is offered first is preferred. An empty header accepts everything, as does a
    missing one; a weight that is no number from 0 to 1 counts as 0. The most specific range that matches a media
    type decides on it.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    if not ranges:
        return offered[0]
    weights = {media_type: _weight(media_type, ranges) for media_type in offered}
    best = max(offered, key=lambda media_type: weights[media_type])
    return best if weights[best] > 0 else None


def _range(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = next((value for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"), "1")
    try:
        number = float(weight.strip())
    except ValueError:
        number = 0.0
    return media_range, number if 0 <= number <= 1 else 0.0


def _weight(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    kind = media_type.partition("/")[0] + "/*"
    for wanted in (media_type, kind, "*/*"):
        weights = [weight for media_range, weight in ranges if media_range == wanted]
        if weights:
            return max(weights)
    return 0.0
