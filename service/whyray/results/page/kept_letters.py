"""A font that keeps what it has drawn: most words of a page stand on the next one too, and on those of the next job."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PIL import ImageFont


class KeptLetters(ImageFont.FreeTypeFont):
    """As Pillow's, of a font file; what it gives is drawn from, and never drawn into."""

    def getmask2(self, text: str | bytes, mode: str = "", *args: Any, **named: Any) -> tuple[Any, tuple[int, int]]:
        """The letters' coverage, in grey, and where it begins; of letters with colours of their own a new picture."""
        if mode == "RGBA":  # Pillow sets the transparency of what it is given
            return super().getmask2(text, mode, *args, **named)
        drawn: tuple[Any, tuple[int, int]] = _drawn(self, text, mode, args, tuple(sorted(named.items())))
        return drawn

    def _anew(self, text: str | bytes, mode: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return super().getmask2(text, mode, *args, **named)


@lru_cache(maxsize=256)  # a line of a page takes 60 KB at most
def _drawn(
    font: KeptLetters, text: str | bytes, mode: str, args: tuple[Any, ...], named: tuple[tuple[str, Any], ...]
) -> Any:
    return font._anew(text, mode, args, dict(named))
