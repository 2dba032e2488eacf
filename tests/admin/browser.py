"""A headless Chromium that opens the real page of a really served endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

Answer = TypeVar("Answer")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1440,1000",
)
WITHIN = 60.0


def start(chromium: str, chromedriver: str, profile: Path, flags: Sequence[str] = ()) -> webdriver.Chrome:
    options = Options()
    options.binary_location = chromium
    for flag in (*_FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(chromedriver))


class Page:
    """What a person sees and does."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, fragment: str = "overview") -> Page:
        self.driver.get("about:blank")
        self.driver.get_log("browser")  # what earlier pages complained of
        self.driver.get(f"{self.url}#{fragment}")
        return self

    def until(self, condition: Callable[[], Answer], what: str) -> Answer:
        """Wait until `condition` holds; elements that are redrawn meanwhile are looked up again."""
        ignored = (NoSuchElementException, StaleElementReferenceException)
        waiting = WebDriverWait(self.driver, WITHIN, poll_frequency=0.05, ignored_exceptions=ignored)

        def holds(_: object) -> Answer:
            try:
                return condition()
            except WebDriverException as error:
                if "does not belong to the document" in str(error.msg):  # chromedriver's other words for it
                    raise StaleElementReferenceException(error.msg) from error
                raise

        try:
            return waiting.until(holds, f"never seen: {what}")
        except TimeoutException as error:
            error.msg = f"{error.msg}; the page says {self.text('body')[:2000]!r}; {self.complaints()}"
            raise

    def text(self, selector: str = "main") -> str:
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def shows(self, text: str, selector: str = "main") -> None:
        self.until(lambda: text in self.text(selector), f"{text!r} in {selector}")

    def find(self, selector: str) -> WebElement:
        return self.until(lambda: self.driver.find_element(By.CSS_SELECTOR, selector), selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def press(self, selector: str) -> None:
        def pressed() -> bool:
            self.driver.find_element(By.CSS_SELECTOR, selector).click()
            return True

        self.until(pressed, f"{selector} to press")

    def complaints(self) -> list[str]:
        """What the browser's console says is wrong: violated policies, failed scripts, missing files."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
