"""Pages of Secondary Capture: what a person sees of a finding and its explanation."""

from whyray.results.page.compare import Comparison, comparisons
from whyray.results.page.key_slices import key_slices
from whyray.results.page.layout import Page, Panel, text_size_of
from whyray.results.page.pages import (
    cine_pages,
    frames_explained_words,
    map_pages,
    mask_pages,
    no_statement_page,
    no_statement_words,
    notice_page,
    overview_page,
    told_pages,
)
from whyray.results.page.paper import on_paper, sheets
from whyray.results.page.typeface import illegible_languages, legible_wording

__all__ = [
    "Comparison",
    "Page",
    "Panel",
    "cine_pages",
    "comparisons",
    "frames_explained_words",
    "illegible_languages",
    "key_slices",
    "legible_wording",
    "map_pages",
    "mask_pages",
    "no_statement_page",
    "no_statement_words",
    "notice_page",
    "on_paper",
    "overview_page",
    "sheets",
    "text_size_of",
    "told_pages",
]
