"""Which characters a font can write is read from its file as FreeType reads it."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from matplotlib.ft2font import FT2Font

from whyray.results.page.font_characters import characters_of

FONTS = [
    *sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("*.ttf")),
    *(path for path in sorted(Path("/usr/share/fonts").rglob("*")) if path.suffix in (".ttf", ".otf", ".ttc")),
]


@pytest.mark.parametrize("path", FONTS, ids=lambda path: str(path.parent.name + "/" + path.name))
def test_every_font_that_is_installed_here_is_read_as_freetype_reads_it(path: Path) -> None:
    read = characters_of(path)
    if path.name.startswith("LastResort"):
        assert read is None  # says of every character that it can't be written
    else:
        assert read == frozenset(map(chr, FT2Font(str(path)).get_charmap()))


def test_what_is_no_font_or_is_cut_off_is_left_to_freetype(tmp_path: Path) -> None:
    whole = FONTS[0].read_bytes()
    for number, content in enumerate((b"", b"no font at all, but some words", whole[:300], whole[:12])):
        path = tmp_path / f"{number}.ttf"
        path.write_bytes(content)
        assert characters_of(path) is None
