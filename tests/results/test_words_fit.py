"""Words on pages are whole: smaller down to a floor, and in lines where they are long; never cut."""

from __future__ import annotations

import numpy as np

from results.test_pages import words_on
from whyray.results import load_templates
from whyray.results.page import Panel
from whyray.results.page.chart import Bar, bar_chart
from whyray.results.page.layout import ColourBar, Line, Words, compose
from whyray.results.page.marks import Badge, Probability
from whyray.results.page.overlay import strip
from whyray.results.page.text import LEAST_TEXT, fitted, wrapped
from whyray.results.page.typeface import typeface
from whyray.results.trust import TrustLevel

LONG = (
    "badly known: pleural line, costophrenic angle, silhouette sign; green where all concepts are well known "
    "(AUC held out from 0.8 on)"
)


def _flat(text: str) -> str:
    return "".join(text.split())


def test_title_banner_caption_unit_and_statements_are_on_the_page_in_full(templates, monkeypatch):
    layout = templates.layout
    picture = np.zeros((120, 160, 3), np.uint8)
    badge = Badge(TrustLevel.RELIABLE, "Explanation: reliable")
    words = Words(
        f"Title {LONG}",
        f"Subtitle {LONG} {LONG}",
        badge,
        (f"Banner {LONG}", (255, 0, 0)),
        [Line(f"Statement {LONG}", (255, 255, 255))],
        Probability(0.8, 0.1, "80%", "threshold 10%"),
    )
    panel = Panel(0, True, picture, f"Caption {LONG}")
    bar = ColourBar(1.0, False, f"Unit {LONG}", (f"low {LONG}", "high"))
    pages = []
    said = _flat(words_on(monkeypatch, lambda: pages.append(compose(words, [panel], 1, bar, layout))))
    for part in ("Title", "Subtitle", "Banner", "Caption", "Unit", "low", "Statement", "threshold", "Explanation"):
        assert part in said
    assert "…" not in said
    for word in LONG.split():
        assert said.count(_flat(word)) >= 7, word
    short = Words("Title", "Subtitle", badge, ("Banner", (255, 0, 0)), ())
    assert pages[0].picture.shape[0] > compose(short, [panel], 1, None, layout).picture.shape[0]


def test_every_line_fits_into_its_room(templates):
    layout = templates.layout
    for text in (LONG, "A" * 200, "胸部単純写真において肺門部に高吸収域を認める" * 4, f"{'x' * 90} and more"):
        lines = fitted(text, 30, 400, layout, bold=True)
        assert _flat("".join(lines.lines)) == _flat(text)
        assert lines.size >= LEAST_TEXT
        assert all(
            typeface(layout.fonts, text, lines.size, bold=True).getlength(line) <= 400 for line in lines.lines
        ), text
        assert _flat("".join(wrapped(text, 300, 20, layout))) == _flat(text)


def test_labels_of_charts_are_whole_and_as_large_as_other_text(templates, monkeypatch):
    bars = [Bar(LONG, 1.0, note=LONG), Bar("short", -1.0)]
    said = words_on(monkeypatch, lambda: bar_chart(bars, LONG, (900, 400), templates.layout))
    assert "…" not in said
    assert all(_flat(said).count(_flat(word)) >= 3 for word in LONG.split())


def test_what_nobody_may_overlook_is_never_cut(monkeypatch):
    layout = load_templates(None).layout
    said = words_on(monkeypatch, lambda: strip(190, LONG, layout))
    assert said.split() == LONG.split()
