"""Fonts of pages: the first file of the layout's list that holds all characters of a text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from whyray.base.errors import ConfigError
from whyray.results.page.font_characters import characters_of
from whyray.results.page.kept_letters import KeptLetters
from whyray.results.template_layout import Fonts
from whyray.results.templates import Templates
from whyray.results.wording import Wording

_FALLBACK_LANGUAGE = "en"
_MATPLOTLIB_FONTS = Path("mpl-data", "fonts", "ttf")
_SYSTEM_FONTS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))


def typeface(fonts: Fonts, text: str, size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font to draw `text` with; the first of the list where none holds all of its characters."""
    names = fonts.bold if bold else fonts.regular
    files = [path for name in names if (path := _font_file(name)) is not None]
    if not files:
        raise ConfigError(
            f"layout.yaml: none of the fonts {', '.join(names)} is installed",
            advice="Name a font file by its full path, or leave fonts as shipped.",
        )
    fitting = next((path for path in files if _holds(path, text)), files[0])
    return _load(fitting, size)


def legible(fonts: Fonts, text: str) -> bool:
    """Whether one installed font holds all characters of a text."""
    files = (path for name in fonts.regular if (path := _font_file(name)) is not None)
    return any(_holds(path, text) for path in files)


def illegible_languages(templates: Templates) -> list[str]:
    """Languages whose pages fall back to English, since no installed font holds all of their characters."""
    return [
        wording
        for wording in sorted(templates.wordings)
        if legible_wording(templates, wording) != templates.wording(wording)
    ]


def legible_wording(templates: Templates, language: str) -> Wording:
    """The wording of a language, or English where no installed font holds all of its characters."""
    wording = templates.wording(language)
    files = [path for name in templates.layout.fonts.regular if (path := _font_file(name)) is not None]
    text = "".join(_strings(wording.model_dump()))
    if any(_holds(path, text) for path in files):
        return wording
    return templates.wording(_FALLBACK_LANGUAGE)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for nested in value.values():
            yield from _strings(nested)


@lru_cache(maxsize=64)
def _font_file(name: str) -> Path | None:
    """A full path; else a file of matplotlib's fonts, of a Python package (`package/file`), or of the system."""
    path = Path(name)
    candidates = [path] if path.is_absolute() else list(_in_package("matplotlib", _MATPLOTLIB_FONTS / path))
    if not path.is_absolute() and len(path.parts) > 1:
        candidates += _in_package(path.parts[0], Path(*path.parts[1:]))
    elif not path.is_absolute():
        candidates += [font_file for folder in _SYSTEM_FONTS for font_file in sorted(folder.rglob(name))]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _in_package(name: str, path: Path) -> Iterator[Path]:
    """Where a file of an installed package may lie; it is not loaded for that."""
    package = find_spec(name)
    folders = () if package is None else package.submodule_search_locations or ()
    return (Path(folder) / path for folder in folders)


@lru_cache(maxsize=16)
def _characters(path: Path) -> frozenset[str]:
    read = characters_of(path)
    if read is None:
        from matplotlib.ft2font import FT2Font  # late: it takes longer than a page

        read = frozenset(map(chr, FT2Font(str(path)).get_charmap()))
    return read


def _holds(path: Path, text: str) -> bool:
    lacking = set(text) - _characters(path)
    return not lacking or all(character.isspace() for character in lacking)


@lru_cache(maxsize=128)
def _load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return KeptLetters(str(path), size)
