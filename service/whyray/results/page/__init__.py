"""Pages of Secondary Capture: what a person sees of a finding and its explanation."""

from whyray.results.page.compare import Comparison, comparisons
from whyray.results.page.details import map_details, typed_details
from whyray.results.page.finding import map_pages, mask_pages, notice_page
from whyray.results.page.key_slices import key_slices
from whyray.results.page.layout import Page, Panel
from whyray.results.page.paper import on_paper, sheets
from whyray.results.page.said import frames_explained_words
from whyray.results.page.study import StudyPart, findings_of_study, study_page
from whyray.results.page.summary import Summarised, no_statement_words, summary_page
from whyray.results.page.text import text_size_of
from whyray.results.page.typed import cine_pages, typed_pages
from whyray.results.page.typeface import illegible_languages, legible_wording

__all__ = [
    "Comparison",
    "Page",
    "Panel",
    "StudyPart",
    "Summarised",
    "cine_pages",
    "comparisons",
    "findings_of_study",
    "frames_explained_words",
    "illegible_languages",
    "key_slices",
    "legible_wording",
    "map_details",
    "map_pages",
    "mask_pages",
    "no_statement_words",
    "notice_page",
    "on_paper",
    "sheets",
    "study_page",
    "summary_page",
    "text_size_of",
    "typed_details",
    "typed_pages",
]
