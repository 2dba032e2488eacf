"""Figures on the live page are those of the result pages, to the last digit."""

from __future__ import annotations

from admin.browser import Page
from admin.scene import FINDINGS, Scene
from admin.test_page import driver, page, still  # noqa: F401 - fixtures
from whyray.catalog import jobs
from whyray.results.numbers import Numbers

_WRITTEN = """
const [name, values, rest, done] = arguments;
const all = (dom) => values.map((each) => dom[name](each, ...rest));
import("/static/dom.js").then((dom) => done(all(dom)), (error) => done(String(error)));
"""


def test_a_probability_reads_as_on_the_pages_of_results(still: Page) -> None:  # noqa: F811
    shares = [0.0, 0.004, 0.0949999, 0.0996, 0.125, 0.375, 0.625, 0.875, *(number / 400 for number in range(401))]
    written = still.open().driver.execute_async_script(_WRITTEN, "percent", shares, [])
    assert written == [Numbers().probability(share) for share in shares]


def test_a_value_reads_as_on_the_pages_of_results(still: Page) -> None:  # noqa: F811
    values = [0.0, 1.0, 0.87654, 61.5, 9999.5, 12345.6, 30120.4, -1234.5, 2.5e-4]
    written = still.open().driver.execute_async_script(_WRITTEN, "significant", values, [4])
    assert written == [Numbers().significant(value, 4) for value in values]


def test_lists_show_a_value_with_its_unit_and_of_a_finding_without_either_nothing(scene: Scene, page: Page) -> None:  # noqa: F811
    figures = {
        "bone age": {"present": None, "value": 143.26, "unit": "mo"},
        "heart": {"present": True, "value": 30120.4, "unit": "mm2"},
        "tube": {"present": True, "value": None, "unit": None},
    }
    with scene.catalog.begin() as session:
        jobs.get(session, scene.jobs["done"]).findings = [
            {**FINDINGS[0], "probability": None, "finding": name} | figure for name, figure in figures.items()
        ]
    page.open("jobs?state=done").shows("bone age 143.3 mo")
    page.shows("heart 30,120 mm²")
    assert [line.text for line in page.all("tbody td .nowrap") if line.text.startswith("tube")] == ["tube"]
    page.open(f"jobs/{scene.jobs['done']}").shows("143.3 mo")
