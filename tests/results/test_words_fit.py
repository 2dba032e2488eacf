"""Words on pages are whole: smaller or in lines where they are long; only labels of charts are cut, at a word."""

from __future__ import annotations

import numpy as np

from results.test_pages import words_on
from whyray.results.page import Panel
from whyray.results.page.layout import ColourBar, Words, _fitted, _wrap, compose, shortened
from whyray.results.page.overlay import with_strip

LONG = (
    "badly known: pleural line, costophrenic angle, silhouette sign; green where all concepts are well known "
    "(AUC held out from 0.8 on)"
)


def _flat(text: str) -> str:
    return "".join(text.split())


def test_title_banner_caption_unit_and_subtitle_are_on_the_page_in_full(templates, monkeypatch):
    layout = templates.layout
    picture = np.zeros((120, 160, 3), np.uint8)
    badge, red = ("green", (0, 255, 0)), (255, 0, 0)
    words = Words(f"Title {LONG}", f"Subtitle {LONG} {LONG}", badge, (f"Banner {LONG}", red), ())
    panel = Panel(0, True, picture, f"Caption {LONG}")
    bar = ColourBar(1.0, False, f"Unit {LONG}", ("low", "high"))
    pages = []
    said = _flat(words_on(monkeypatch, lambda: pages.append(compose(words, [panel], 1, bar, layout))))
    for part in ("Title", "Subtitle", "Banner", "Caption", "Unit"):
        # lines of a caption are drawn from the lowest up, so that each line is looked for by itself
        assert part in said
    assert "…" not in said
    for word in LONG.split():
        assert said.count(_flat(word)) >= 5, word
    short = Words("Title", "Subtitle", badge, ("Banner", red), ())
    assert pages[0].picture.shape[0] > compose(short, [panel], 1, None, layout).picture.shape[0]


def test_every_line_fits_into_its_room(templates):
    from whyray.results.page.typeface import typeface

    layout = templates.layout
    for text in (LONG, "A" * 200, "胸部単純写真において肺門部に高吸収域を認める" * 4, f"{'x' * 90} and more"):
        found = _fitted(text, 30, 400, layout)
        assert _flat("".join(found.lines)) == _flat(text)
        assert all(
            typeface(layout.fonts, text, found.size, bold=True).getlength(line) <= 400 for line in found.lines
        ), text
        assert _flat("".join(_wrap(text, 300, 20, layout))) == _flat(text)


def test_a_label_that_is_cut_is_cut_after_a_word(templates):
    text, font = shortened("green where all concepts are well known", 20, 180, templates.layout)
    assert text.endswith("…")
    assert text.removesuffix("…") in ("green", "green where", "green where all", "green where all concepts")
    assert font.getlength(text) <= 180
    assert shortened("short", 20, 180, templates.layout)[0] == "short"


def test_what_nobody_may_overlook_is_never_cut(monkeypatch):
    from whyray.results import load_templates

    strip = lambda: with_strip(np.zeros((200, 90, 3), np.uint8), LONG, load_templates(None).layout)  # noqa: E731
    said = words_on(monkeypatch, strip)
    assert said.split() == LONG.split()
