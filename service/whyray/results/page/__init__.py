"""Pages of Secondary Capture: what a person sees of a finding and its explanation."""

from whyray.results.page.key_slices import key_slices
from whyray.results.page.layout import Page, Panel
from whyray.results.page.pages import map_pages, mask_pages, notice_page
from whyray.results.page.typeface import legible_wording

__all__ = ["Page", "Panel", "key_slices", "legible_wording", "map_pages", "mask_pages", "notice_page"]
