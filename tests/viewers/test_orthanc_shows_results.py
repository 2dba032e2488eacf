"""Orthanc's own pages show what WhyRay made, as it was drawn."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
from selenium import webdriver
from selenium.webdriver.common.alert import Alert
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

from peers import until
from viewers.cases import Case
from viewers.conftest import Archive
from viewers.pictures import LIKE_TEXT, Picture, decoded, likeness

_WITHIN = 60.0
_BORDER = 10
"""Pixels of white around the preview."""


def test_orthanc_explorer_previews_the_page_pixel_by_pixel(
    window: webdriver.Chrome, archive: Archive, head_ct: Case, artefacts: Path
) -> None:
    page = head_ct.of("sc")
    assert page.picture is not None
    rows, columns, _ = page.picture.shape
    window.set_window_size(columns + 200, rows + 400)
    identifier = archive.instance(page.dataset.SOPInstanceUID)
    window.get(f"{archive.server.url}/app/explorer.html#instance?uuid={identifier}")

    def opened() -> bool:
        for button in window.find_elements(By.ID, "instance-preview"):
            if button.is_displayed():
                button.click()
                return True
        return False

    until(opened, what="the button that previews", deadline=_WITHIN)

    def is_as_drawn() -> bool:
        images = window.find_elements(By.ID, "lbImage")
        if not images or not images[0].is_displayed():
            return False
        shown = decoded(images[0].screenshot_as_png)[_BORDER:-_BORDER, _BORDER:-_BORDER]
        return shown.shape == page.picture.shape and bool(np.abs(shown.astype(int) - page.picture).max() <= 1)

    until(is_as_drawn, what="a preview equal to the result's picture", deadline=_WITHIN)
    window.save_screenshot(str(artefacts / "orthanc-explorer-sc.png"))


def test_orthanc_previews_pages_and_segmentations_and_nothing_else(archive: Archive, head_ct: Case) -> None:
    answers = {}
    for result in head_ct.results:
        instance = archive.instance(result.dataset.SOPInstanceUID)
        answers[result.kind] = httpx.get(
            f"{archive.server.url}/instances/{instance}/preview", timeout=_WITHIN
        ).status_code
    assert {kind for kind, status in answers.items() if status == httpx.codes.OK} == {"sc", "seg"}
    assert set(answers.values()) == {httpx.codes.OK, httpx.codes.UNSUPPORTED_MEDIA_TYPE}


def test_orthanc_previews_a_segmentation_only_where_its_columns_come_in_eights(
    archive: Archive, head_ct: Case, chest: Case
) -> None:
    """A segment is one bit a pixel, and a row of the radiograph's 1841 columns ends within a byte."""
    answers = {}
    for case in (head_ct, chest):
        segmentation = case.of("seg").dataset
        instance = archive.instance(segmentation.SOPInstanceUID)
        preview = httpx.get(f"{archive.server.url}/instances/{instance}/preview", timeout=_WITHIN)
        answers[segmentation.Columns % 8 == 0] = preview.status_code
    assert answers == {True: httpx.codes.OK, False: httpx.codes.UNSUPPORTED_MEDIA_TYPE}


def test_orthancs_web_viewer_shows_the_page(
    window: webdriver.Chrome, archive: Archive, web_viewer: str, head_ct: Case, artefacts: Path
) -> None:
    page = head_ct.first_page
    shown = _opened(window, web_viewer, archive.series(page.dataset.SOPInstanceUID), page.picture, artefacts, "sc")
    assert likeness(shown, page.picture[:, ::-1]) < 0.6, "a mirrored page would not pass"


def test_orthancs_web_viewer_shows_the_page_about_a_radiograph(
    window: webdriver.Chrome, archive: Archive, web_viewer: str, chest: Case, artefacts: Path
) -> None:
    page = chest.first_page
    _opened(window, web_viewer, archive.series(page.dataset.SOPInstanceUID), page.picture, artefacts, "chest-sc")


def test_orthancs_web_viewer_says_that_it_cannot_show_reports_and_float_maps(
    window: webdriver.Chrome, archive: Archive, web_viewer: str, head_ct: Case
) -> None:
    for kind in ("sr", "pm", "gsps", "ko"):
        series = archive.series(head_ct.of(kind).dataset.SOPInstanceUID)
        window.get(f"{web_viewer}?series={series}")
        alert: Alert = WebDriverWait(window, _WITHIN).until(expected_conditions.alert_is_present())
        assert "does not support the decoding of this image" in alert.text
        alert.accept()


def _opened(
    window: webdriver.Chrome, web_viewer: str, series: str, picture: Picture | None, artefacts: Path, name: str
) -> Picture:
    assert picture is not None
    window.set_window_size(1440, 1100)
    window.get(f"{web_viewer}?series={series}")

    def seen() -> list[Picture]:
        canvases = window.find_elements(By.CSS_SELECTOR, "#dicomImage canvas")
        shown = decoded(canvases[0].screenshot_as_png) if canvases else None
        return [shown] if shown is not None and likeness(shown, picture) > LIKE_TEXT else []

    (shown,) = until(seen, what="the result's picture in the web viewer", deadline=_WITHIN)
    window.save_screenshot(str(artefacts / f"orthanc-web-viewer-{name}.png"))
    return shown
