"""The form of reader studies in a real browser: by keyboard alone, with a clock, with breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from admin.browser import Page
from admin.conftest import local_client
from admin.scene import Scene, config_of
from admin.test_page import _FAULTS, driver  # noqa: F401 - a fixture
from admin.test_reading import PASSWORD, SECURED
from reader_study.kits import put_in, small_kit
from whyray.admin import serve_admin
from whyray.base.sources import system_clock
from whyray.catalog import Reading
from whyray.reader_study.register import find


@pytest.fixture
def site(scene: Scene) -> Scene:
    scene.config = config_of(SECURED, scene.folder, P=PASSWORD)
    scene.catalog.clock = system_clock  # the server's and the browser's clock run together here
    put_in(scene.catalog, scene.storage, small_kit(), ["ada", "grace"])
    return scene


@pytest.fixture
def page(driver: webdriver.Chrome, site: Scene) -> Iterator[Page]:  # noqa: F811
    server = serve_admin(local_client(site).app, "127.0.0.1", 0)  # type: ignore[arg-type]
    page = Page(driver, server.url)
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(server.url)
    page.find("#user").send_keys("ada")
    page.find("#password").send_keys(PASSWORD + Keys.ENTER)
    yield page
    driver.get("about:blank")
    driver.delete_all_cookies()
    server.stop()


def readings(site: Scene) -> list[Reading]:
    with site.catalog.read() as session:
        rows = [row for reader in find(session, "spots").readers for row in reader.readings]
        return sorted(rows, key=lambda row: row.position)


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.driver.switch_to.active_element.send_keys(key)


def to_the_first_case(page: Page) -> None:
    page.press("[data-study=spots]")
    page.shows("You see 4 cases")
    press(page, Keys.ENTER)  # the button has the focus
    page.shows("0 of 4 cases")
    press(page, Keys.ENTER)
    page.find("#answer[data-timed]")


def test_a_reader_goes_through_a_study_with_the_keyboard_alone(site: Scene, page: Page) -> None:
    page.shows("Spots on films")
    to_the_first_case(page)
    for number in range(1, 5):
        page.shows(f"Case {number} of 4", "#title")
        page.find("#answer[data-timed]")
        press(page, "p" if number % 2 else "a", "4")
        page.find("#comment").send_keys("seen at once, p 1")  # letters here choose nothing
        page.find("#answer input[name=confidence]:checked").send_keys(Keys.ENTER)
        if number < 4:
            page.shows(f"{number} of 4 cases")
            press(page, Keys.ENTER)
    page.shows("All cases are answered")
    stored = readings(site)
    assert [reading.answer for reading in stored] == ["present", "absent", "present", "absent"]
    assert [reading.confidence for reading in stored] == [4] * 4
    assert [reading.comment for reading in stored] == ["seen at once, p 1"] * 4
    for reading in stored:
        assert reading.browser_ms is not None
        assert reading.server_ms is not None
        assert 0 < reading.browser_ms <= reading.server_ms
    assert page.complaints() == []


def test_half_of_the_cases_show_an_explanation_and_all_show_the_model(site: Scene, page: Page) -> None:
    to_the_first_case(page)
    with_explanation = 0
    for _ in range(4):
        page.find("#answer[data-timed]")
        with_explanation += len(page.all(".reading figure")) == 2
        page.shows("The model says:", "#answer")
        widths = page.driver.execute_script(
            "return [...document.querySelectorAll('.reading img')].map(i => i.naturalWidth)"
        )
        assert set(widths) == {200}
        press(page, "p", "3", Keys.ENTER)
        page.until(lambda: not page.all("#answer"), "the answer taken")
        if page.all("#next"):
            press(page, Keys.ENTER)
    assert with_explanation == 2


def test_after_a_break_the_same_case_comes_again(site: Scene, page: Page) -> None:
    to_the_first_case(page)
    page.driver.refresh()
    page.press("[data-study=spots]")
    page.shows("0 of 4 cases")
    press(page, Keys.ENTER)
    page.find("#answer[data-timed]")
    press(page, "a", "2", Keys.ENTER)
    page.shows("1 of 4 cases")
    (first,) = readings(site)
    assert (first.shows, first.answer) == (2, "absent")


def test_an_answer_without_confidence_is_not_sent(site: Scene, page: Page) -> None:
    to_the_first_case(page)
    press(page, "p", Keys.ENTER)
    assert page.find("#answer").is_displayed()
    assert readings(site)[0].answered_at is None
    press(page, "5", Keys.ENTER)
    page.shows("1 of 4 cases")


def test_the_form_can_be_used_with_a_screen_reader(site: Scene, page: Page) -> None:
    page.find("[data-study=spots]")
    assert page.driver.execute_script(_FAULTS) == []
    to_the_first_case(page)
    assert page.driver.execute_script(_FAULTS) == []
    assert page.complaints() == []
