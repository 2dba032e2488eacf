"""OHIF as a person uses it: opens a study, double-clicks a series, scrolls to a slice, looks at the viewport."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from peers import until
from viewers.pictures import Picture, decoded

WITHIN = 90.0
"""Seconds: a busy machine compiles 10 MB of script and draws by software."""

_AGAIN = 10.0
"""Seconds after which a double click that met a page just being redrawn is made again."""

_FROM_THE_START = 30.0
"""Seconds after which OHIF is loaded anew: it sometimes gives the viewport to a series and never draws it."""

_VIEWPORTS = "(window.cornerstone ? cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports()) : [])"
_GRID = "[...services.viewportGridService.getState().viewports.values()]"
_SETS = "services.displaySetService.getActiveDisplaySets()"

# A stack counts its slices as its images are sorted, a volume against that: along its normal.
_SCROLL = f"""
const [port] = {_VIEWPORTS};
if (port?.viewportStatus !== 'rendered') return false;
if ((port.getCurrentImageId() ?? '').includes(arguments[0])) return true;
const images = port.getImageIds(), place = images.findIndex(each => each.includes(arguments[0]));
const index = port.type === 'stack' ? place : images.length - 1 - place;
if (place >= 0 && port.getSliceIndex() !== index)
    cornerstone.utilities.jumpToSlice(port.element, {{imageIndex: index}});
return false;
"""


class Ohif:
    """One browser window with OHIF in it."""

    def __init__(self, driver: webdriver.Chrome, url: str, artefacts: Path) -> None:
        self.driver, self.url, self.artefacts = driver, url, artefacts
        self._study, self._shown, self._wordless = "", list[str](), False

    def open(self, study: str) -> Ohif:
        """Open a study and wait until its first image is drawn; a newcomer's tour is skipped."""
        self._study, self._shown, self._wordless = study, [], False
        self.driver.get(f"{self.url}/viewer?StudyInstanceUIDs={study}")
        self._until("the first image", f"return {_VIEWPORTS}[0]?.viewportStatus === 'rendered'")
        self._until("the thumbnails", "return document.querySelector('[id^=thumbnail-]') !== null")
        for button in self.driver.find_elements(By.CSS_SELECTOR, ".shepherd-element button"):
            button.click()
        self._until("the tour's end", "return document.querySelector('.shepherd-element') === null")
        return self

    def series(self) -> list[str]:
        """What the list of series says, one line each."""
        thumbnails = self.driver.find_elements(By.CSS_SELECTOR, "[id^=thumbnail-]")
        return [" ".join(thumbnail.text.split()) for thumbnail in thumbnails]

    def show(self, modality: str) -> Ohif:
        """Double-click the series of a modality (as OHIF calls it) and wait until the viewport is given to it."""
        uid = self._until(
            f"a series of {modality}",
            f"return {_SETS}.find(each => each.Modality === arguments[0])?.displaySetInstanceUID",
            modality,
        )
        # a segmentation is soon laid over its source, which then has the viewport
        given = (
            f"return {_GRID}.some(each => each.isReady && (each.displaySetInstanceUIDs.includes(arguments[0]) ||"
            " cornerstoneTools.segmentation.state.getSegmentationRepresentations(each.viewportId)"
            ".some(laid => laid.segmentationId === arguments[0])))"
        )
        clicked = -_AGAIN

        def done() -> bool:
            nonlocal clicked
            if self.ask(given, uid):
                return True
            if time.monotonic() - clicked > _AGAIN:
                ActionChains(self.driver).double_click(self.driver.find_element(By.ID, f"thumbnail-{uid}")).perform()
                clicked = time.monotonic()
            return False

        until(done, what=f"OHIF: {modality} in the viewport", deadline=WITHIN)
        self._shown.append(modality)
        return self

    def ask(self, script: str, *arguments: object) -> Any:
        """What a script in the page says; None where the page has not loaded what the script asks."""
        return self.driver.execute_script(
            f"if (!window.services || !window.cornerstone) return null; {script}", *arguments
        )

    def looks(self, like: Callable[[Picture], bool], what: str, *, slice_of: str | None = None) -> Picture:
        """The viewport once it looks as expected, without what OHIF writes over its corners.

        `slice_of` is the instance to scroll to, again if OHIF moves on by itself when it has loaded an overlay.
        """

        loaded = time.monotonic()

        def seen() -> list[Picture]:
            nonlocal loaded
            if time.monotonic() - loaded > _FROM_THE_START:
                self._from_the_start()
                loaded = time.monotonic()
            self.ask("document.querySelectorAll('[data-cy^=viewport-overlay]').forEach(each => each.style.opacity = 0)")
            if slice_of is not None and not self.ask(_SCROLL, slice_of):
                return []
            now = self.viewport()
            return [now] if like(now) else []

        return until(seen, what=f"OHIF: {what}", deadline=WITHIN)[0]

    def without_words(self) -> Ohif:
        """Hide what OHIF writes beside outlines, and the lines that lead there."""
        self._wordless = True
        self.ask(
            "const sheet = document.createElement('style');"
            "sheet.textContent = 'svg.svg-layer text, svg.svg-layer line {display: none}';"
            "document.head.append(sheet);"
        )
        return self

    def _from_the_start(self) -> None:
        shown, wordless = self._shown, self._wordless
        self.driver.get("about:blank")
        self.open(self._study)
        for modality in shown:
            self.show(modality)
        if wordless:
            self.without_words()

    def viewport(self) -> Picture:
        """A screenshot of the viewport."""
        return decoded(self.driver.find_element(By.CSS_SELECTOR, "[data-cy=viewport-pane]").screenshot_as_png)

    def keep(self, name: str) -> None:
        """Keep a screenshot of the window among the test's artefacts."""
        self.driver.save_screenshot(str(self.artefacts / f"{name}.png"))

    def _until(self, what: str, script: str, *arguments: object) -> Any:
        return until(lambda: self.ask(script, *arguments), what=f"OHIF: {what}", deadline=WITHIN)
