"""The live page without a mouse: all can be reached, the focus is seen, and a redrawing does not take it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from admin.browser import Page
from admin.scene import Scene
from admin.test_page import VIEWS, driver, page, still  # noqa: F401 - fixtures
from whyray.catalog import Delivery, jobs

_FOCUSABLE = "a[href], button, select, input, summary, [tabindex='0']"
_ADDRESSES = f"""
const done = arguments[0], all = [...document.querySelectorAll("#body :is({_FOCUSABLE})")];
const told = ({{ address }}) => all.map((each) => each.dataset.key ? address(each) : `none: ${{each.outerHTML}}`);
import("/static/focus.js").then((focus) => done(told(focus)), (error) => done([`none: ${{error}}`]));
"""
_SEEN = """
const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
const on = document.elementFromPoint(box.left + Math.min(box.width / 2, 40), box.top + box.height / 2);
return {
  html: it.outerHTML.slice(0, 120), key: it.dataset.key ?? it.id ?? "", body: it === document.body,
  outline: style.outlineStyle, width: parseFloat(style.outlineWidth), colour: style.outlineColor,
  header: Boolean(it.closest(".top")), uncovered: on !== null && (it.contains(on) || on.contains(it)),
};
"""


def focused(shown: Page) -> str | None:
    key: str | None = shown.driver.execute_script(
        "return document.activeElement.dataset.key ?? document.activeElement.id"
    )
    return key


def press_by_key(shown: Page, selector: str, *keys: str) -> None:
    element = shown.find(selector)
    shown.driver.execute_script("arguments[0].focus()", element)
    element.send_keys(*keys)


@contextmanager
def drawn_anew(shown: Page) -> Iterator[None]:
    """Until what is on the page when the block begins is replaced, because of what happens in the block."""
    shown.driver.execute_script("document.querySelector('#body > *').dataset.old = 'yes'")
    yield
    shown.until(lambda: not shown.all("#body > [data-old]"), "the page drawn anew")


@pytest.mark.parametrize("view", [*VIEWS, "jobs/DONE", "studies/DONE", "methods/grad-cam"])
def test_every_control_is_found_again_after_a_redrawing(view: str, still: Page) -> None:  # noqa: F811
    still.open("jobs?state=done")
    done = still.find("tbody tr a").get_attribute("href").rsplit("/", 1)[-1]
    study = still.find("tbody td a.uid").get_attribute("href").rsplit("/", 1)[-1]
    still.open(view.replace("DONE", done if view.startswith("jobs") else study))
    still.until(lambda: still.all("#body .panel, #body p:not(.quiet)"), f"{view} drawn")
    keys = still.driver.execute_async_script(_ADDRESSES)
    assert [key for key in keys if key.startswith("none: ")] == []
    assert len(keys) == len(set(keys)), sorted(keys)


def test_every_tab_stop_is_seen_and_not_covered(still: Page) -> None:  # noqa: F811
    still.open("overview").shows("Latest events")
    stops: list[dict[str, Any]] = []
    for _ in range(200):
        ActionChains(still.driver).send_keys(Keys.TAB).perform()
        stop = still.driver.execute_script(_SEEN)
        if stop["body"]:
            break
        stops.append(stop)
    assert len(stops) > 30
    assert [stop for stop in stops if stop["outline"] == "none" or stop["width"] < 2] == []
    assert [stop["html"] for stop in stops if not stop["uncovered"]] == []
    assert {stop["colour"] for stop in stops if stop["header"]} == {"rgb(255, 255, 255)"}, "on the dark header"
    assert any("pic-" in stop["key"] for stop in stops)
    assert any("data-action" in stop["html"] for stop in stops)


def test_the_focus_comes_back_to_a_button_that_has_acted_or_to_the_view(scene: Scene, page: Page) -> None:  # noqa: F811
    page.open(f"jobs/{scene.jobs['queued']}").shows("Cancel")
    key = page.find("[data-action=cancel]").get_attribute("data-key")
    press_by_key(page, "[data-action=cancel]", Keys.ENTER)
    page.until(lambda: page.find("#ask").is_displayed(), "the question")
    assert page.driver.execute_script("return document.activeElement.closest('#ask') !== null")
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    page.until(lambda: focused(page) == key, "the focus on the button again")
    press_by_key(page, "[data-action=cancel]", Keys.ENTER)
    page.until(lambda: page.find("#ask").is_displayed(), "the question")
    page.find("#ask-yes").send_keys(Keys.ENTER)
    page.until(lambda: page.find(".panel .chip").text.endswith("cancelled"), "the new state")
    assert page.driver.execute_script("return document.activeElement.closest('main') !== null")


def test_what_is_unfolded_and_focused_stays_so_while_the_page_is_drawn_anew(scene: Scene, page: Page) -> None:  # noqa: F811
    page.open(f"jobs/{scene.jobs['done']}").shows("1 measurement")
    press_by_key(page, "details summary", Keys.ENTER)
    key = focused(page)
    page.until(lambda: page.find("details").get_attribute("open"), "the measurements")
    with drawn_anew(page), scene.catalog.begin() as session:
        jobs.get(session, scene.jobs["done"]).revision += 1
    assert page.find("details").get_attribute("open")
    assert focused(page) == key


def test_a_closed_dialog_gives_the_focus_back_though_the_page_was_drawn_anew(scene: Scene, page: Page) -> None:  # noqa: F811
    page.open(f"jobs/{scene.jobs['done']}").shows("Overlays")
    key = page.find(".gallery button").get_attribute("data-key")
    press_by_key(page, ".gallery button", Keys.ENTER)
    page.shows("Not for diagnostic use", "#large")
    with drawn_anew(page), scene.catalog.begin() as session:
        jobs.get(session, scene.jobs["done"]).revision += 1
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    page.until(lambda: focused(page) == key, "the focus on the picture again")


def test_a_table_wider_than_its_panel_is_scrolled_by_keys_and_named(still: Page) -> None:  # noqa: F811
    still.driver.set_window_size(700, 900)
    try:
        still.open("deliveries").shows("Answer of the peer")
        table = still.find(".scroll")
        assert table.get_attribute("tabindex") == "0"
        assert (table.get_attribute("role"), table.get_attribute("aria-label")) == ("region", "Deliveries")
        still.driver.execute_script("arguments[0].focus()", table)
        table.send_keys(Keys.ARROW_RIGHT)
        still.until(lambda: still.driver.execute_script("return arguments[0].scrollLeft", table) > 0, "it scrolled")
    finally:
        still.driver.set_window_size(1440, 1000)


def test_the_focus_stays_in_its_row_though_other_rows_link_to_the_same_study(scene: Scene, page: Page) -> None:  # noqa: F811
    page.open("deliveries").shows("Answer of the peer")
    page.until(lambda: len(page.all("tbody tr")) > 3, "rows")
    row = page.all("tbody tr")[2]
    key = row.find_element(By.CSS_SELECTOR, "[data-key^=dj-]").get_attribute("data-key")
    page.driver.execute_script("arguments[0].focus()", row.find_element(By.CSS_SELECTOR, "a.uid"))
    with drawn_anew(page), scene.catalog.begin() as session:
        for delivery in session.query(Delivery):
            delivery.attempt += 1
    there = "return document.activeElement.closest('tr')?.querySelector('[data-key^=dj-]').dataset.key"
    assert page.driver.execute_script(there) == key
