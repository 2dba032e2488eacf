"""The live page in a real browser: what it shows, that its buttons act, and that everybody can use it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from fastapi.testclient import TestClient
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from admin import browser
from admin.browser import Page
from admin.conftest import local_client
from admin.scene import CONFIG, Scene, config_of
from admin.test_drift import numbers
from reader_study.kits import put_in, small_kit
from whyray.admin import serve_admin
from whyray.admin.drift_watch import RECENT
from whyray.base.errors import DecodeError, ImageError
from whyray.base.passwords import hashed
from whyray.catalog import Delivery, Feedback, JobState, accounts, jobs
from whyray.catalog.drift import REFERENCE
from whyray.explain import Kind

TOKEN = "0123456789abcdef0123"
VIEWS = (
    *("overview", "studies", "jobs", "results", "deliveries", "events", "routes", "packages", "methods"),
    *("destinations", "feedback", "drift", "reader-studies", "accounts"),
)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("chromium or chromedriver is not installed: apt-get install chromium chromium-driver")
    driver = browser.start(chromium, chromedriver, tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, scene: Scene) -> Iterator[Page]:
    server = serve_admin(local_client(scene).app, "127.0.0.1", 0)  # type: ignore[arg-type]
    yield Page(driver, server.url)
    driver.get("about:blank")
    server.stop()


@pytest.fixture(scope="session")
def still(driver: webdriver.Chrome, afternoon: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page for tests that only look: `afternoon` served once."""
    scene = afternoon.copy(tmp_path_factory.mktemp("still"))
    server = serve_admin(local_client(scene).app, "127.0.0.1", 0)  # type: ignore[arg-type]
    yield Page(driver, server.url)
    driver.get("about:blank")
    server.stop()


def state_of(scene: Scene, name: str) -> JobState:
    with scene.catalog.read() as session:
        return jobs.get(session, scene.jobs[name]).state


def test_the_overview_shows_what_is_stuck_and_what_to_do(still: Page) -> None:
    still.open().shows("What to do:")
    still.shows("1 job of route “head CT” failed: PackageError")
    still.shows("research has not yet taken 2 results: PeerUnreachable")
    assert "Not for diagnostic use" in still.text("header")
    assert still.complaints() == []


def test_retry_on_a_failed_job_queues_it_and_the_page_shows_it(scene: Scene, page: Page) -> None:
    page.open(f"jobs/{scene.jobs['failed']}").shows("expected packages/head-ct@1.0.0, found no such folder")
    page.press("[data-action=retry]")
    page.shows("is queued now", "#said")
    page.until(lambda: page.find(".panel .chip").text.endswith("queued"), "the new state")
    assert state_of(scene, "failed") is JobState.QUEUED
    assert page.complaints() == []


def test_no_retry_is_offered_on_a_job_that_would_fail_again(scene: Scene, page: Page) -> None:
    with scene.catalog.begin() as session:
        assert jobs.claim(session, scene.jobs["queued"], "worker-9", scene.now) is not None
        error = DecodeError("instance 1.2.3: the pixel data end too early")
        jobs.stop(session, scene.jobs["queued"], "worker-9", error, scene.now, retry_after=None)
    page.open(f"jobs/{scene.jobs['queued']}").shows("the pixel data end too early")
    assert not page.driver.find_elements("css selector", "main [data-action=retry]")
    page.open(f"jobs/{scene.jobs['failed']}").shows("found no such folder")
    assert page.driver.find_elements("css selector", "main [data-action=retry]")


def test_cancel_asks_first_and_keeping_changes_nothing(scene: Scene, page: Page) -> None:
    page.open(f"jobs/{scene.jobs['queued']}")
    page.press("[data-action=cancel]")
    page.shows("Cancel job", "#ask")
    page.press("#ask button[value=no]")
    page.until(lambda: not page.find("#ask").is_displayed(), "the question closed")
    assert state_of(scene, "queued") is JobState.QUEUED
    page.press("[data-action=cancel]")
    page.press("#ask-yes")
    page.until(lambda: page.find(".panel .chip").text.endswith("cancelled"), "the new state")
    assert state_of(scene, "queued") is JobState.CANCELLED


def test_a_bulk_retry_says_how_many_it_concerns_and_then_moves_them(scene: Scene, page: Page) -> None:
    page.open("deliveries?state=waiting&destination=research")
    page.press("[data-bulk=retry]")
    page.shows("Retry 2 waiting deliveries (research)?", "#ask")
    page.press("#ask-yes")
    page.shows("2 of 2 deliveries moved", "#said")
    page.shows("No such deliveries.")
    with scene.catalog.read() as session:
        states = [delivery.state.value for delivery in session.query(Delivery).filter_by(destination="research")]
    assert states == ["queued"] * 5


def test_the_page_follows_the_catalog_without_being_touched(scene: Scene, page: Page) -> None:
    page.open(f"jobs/{scene.jobs['running']}").shows("grad-cam 6 of 14")
    with scene.catalog.begin() as session:
        jobs.renew(session, scene.jobs["running"], "worker-1", 0.8, "grad-cam 11 of 14", scene.now)
    page.shows("grad-cam 11 of 14")
    assert page.find("progress").get_attribute("value") == "0.8"
    with scene.catalog.begin() as session:
        error = ImageError("<b>no</b> pixel data")
        jobs.stop(session, scene.jobs["running"], "worker-1", error, scene.now, retry_after=None)
    page.shows("<b>no</b> pixel data")  # as text: nothing is parsed as HTML


def test_pages_of_a_list_are_turned_there_and_back(scene: Scene, page: Page) -> None:
    scene.now += timedelta(hours=1)
    for number in range(110):
        scene.receive(f"of the evening {number}")
    page.open("studies").shows("1–50 of 120")
    page.press("[data-key=older]")
    page.shows("51–100 of 120")
    page.press("[data-key=older]")
    page.shows("101–120 of 120")
    assert not page.find("[data-key=older]").is_enabled()
    assert scene.uid("done") in page.find("main").get_attribute("innerHTML")
    page.press("[data-key=newer]")
    page.shows("51–100 of 120")
    page.press("[data-key=newest]")
    page.shows("1–50 of 120")
    assert not page.find("[data-key=newer]").is_enabled()
    assert page.complaints() == []


def test_a_filter_keeps_the_focus_while_the_list_is_drawn_anew(scene: Scene, page: Page) -> None:
    page.open("jobs")
    page.shows("done")
    page.find("#filter-study").send_keys(scene.uid("failed") + Keys.ENTER)
    page.until(lambda: len(page.all("tbody tr")) == 1, "one job")
    assert page.driver.switch_to.active_element.get_attribute("id") == "filter-study"


def test_a_filter_offers_what_the_api_offers_and_keeps_what_was_chosen(client: TestClient, still: Page) -> None:
    still.open("results?kind=blend")
    kinds = client.get("/api/v1/choices").json()["result_kinds"]
    still.until(
        lambda: [option.get_attribute("value") for option in still.all("#filter-kind option")] == ["", *kinds],
        "every kind of result",
    )
    assert still.find("#filter-kind").get_attribute("value") == "blend"


def test_an_overlay_is_shown_small_and_opens_large_with_finding_probability_and_trust(still: Page) -> None:
    still.open("results")
    still.press(".gallery li:nth-child(2) button")
    for text in ("Cardiomegaly", "87%", "reliable", "Grad-CAM", "Not for diagnostic use"):
        still.shows(text, "#large")
    size = "return document.querySelector('#large img')?.naturalWidth"
    still.until(lambda: still.driver.execute_script(size) == 800, "the picture at full resolution")
    still.find("#large").send_keys(Keys.ESCAPE)
    still.until(lambda: not still.find("#large").is_displayed(), "the dialog closed by the keyboard")
    small = "return document.querySelector('.gallery img').naturalWidth"
    assert still.driver.execute_script(small) == 480
    assert still.complaints() == []


def test_a_radiologist_accepts_and_rejects_a_result_from_its_large_view(scene: Scene, page: Page) -> None:
    page.open("results")
    page.press(".gallery li:nth-child(2) button")
    page.shows("0 accepted, 0 rejected.", "#verdict-said")
    assert not page.find("[data-verdict=take-back]").is_displayed()
    page.find("#verdict-reason").send_keys("the explanation points")
    page.find("#verdict-comment").send_keys("left, not right")
    page.press("[data-verdict=reject]")
    page.shows("You rejected it. 0 accepted, 1 rejected.", "#verdict-said")
    page.press("[data-verdict=accept]")
    page.shows("You accepted it. 1 accepted, 0 rejected.", "#verdict-said")
    page.press("[data-verdict=take-back]")
    page.shows("0 accepted, 0 rejected.", "#verdict-said")
    page.press("[data-verdict=reject]")
    page.shows("You rejected it.", "#verdict-said")
    with scene.catalog.read() as session:
        (kept,) = session.query(Feedback).all()
    assert (kept.verdict, kept.reason, kept.comment, kept.actor) == (
        "reject",
        "wrong-place",
        "left, not right",
        "local",
    )
    page.open("feedback").shows("the explanation points at the wrong place")
    page.shows("0% (0% to 79%)")
    assert page.find("svg.chart").get_attribute("aria-label") == "Verdicts: 1 weeks, at most 1 verdicts in one"
    assert float(page.find("svg.chart rect.rejected").get_attribute("height")) > 0
    assert page.complaints() == []


def test_a_job_shows_its_explanations_by_type_with_what_is_withheld_and_refused(afternoon: Scene, still: Page) -> None:
    still.open(f"jobs/{afternoon.jobs['done']}").shows("Anatomical prior")
    captions = [caption.text for caption in still.all("#body caption") if caption.text]
    assert captions.index("Attribution map") < captions.index("Case-based") < captions.index("Anatomical prior")
    still.shows("Not shown: it could not be shown that it follows what the model did.")
    still.press("[data-key*='-region-shares-'][data-key^='measured-Cardiomegaly-']")
    still.shows("shares add up (engine): 0.8 against 1; red below 0.99")
    still.shows("no reference index")
    still.press("[data-key^='small-']")
    still.shows("Cardiomegaly", "#large")
    still.find("#large").send_keys(Keys.ESCAPE)
    assert still.complaints() == []


def test_a_job_shows_what_was_noted_of_its_images(afternoon: Scene, still: Page) -> None:
    still.open(f"jobs/{afternoon.jobs['done']}").shows("Notes on the images")
    still.shows("window replaced")
    assert still.complaints() == []
    still.open(f"jobs/{afternoon.jobs['queued']}").shows("No findings yet.")
    assert "Notes on the images" not in still.find("#body").text


def test_methods_of_all_nine_types_are_listed_with_what_packages_lack(still: Page) -> None:
    still.open("methods").shows("grad-cam")
    types = {caption.text for caption in still.all("#body caption")}
    assert {kind.capitalize() for kind in get_args(Kind)} == types
    still.press("[data-key='method-prototypes']")
    still.shows("Why not", "#body")
    still.shows("cxr-findings@1.0.0", "#body")
    assert still.complaints() == []


def test_drift_is_charted_from_the_first_numbers_to_the_latest(scene: Scene, page: Page) -> None:
    rng = np.random.default_rng(4)
    numbers(scene, rng.beta(2, 8, REFERENCE))
    scene.now += timedelta(days=3)
    numbers(scene, rng.beta(8, 2, RECENT))
    page.open().shows("cxr@2.0.0: probability has drifted")
    page.press("[data-key^='show-drift']")
    page.shows("alert above")
    labels = [chart.get_attribute("aria-label") for chart in page.all("svg.chart")]
    assert labels[0].startswith("probability · Effusion: 2 days from 2026-03-02 to 2026-03-05")
    assert labels[1].endswith("in 10 bins")
    assert len(page.all("svg.chart rect.latest")) == 10
    assert page.driver.execute_script(_FAULTS) == []
    page.open("drift").shows("drifted")
    assert page.complaints() == []


def test_an_administrator_opens_and_closes_a_reader_study(scene: Scene, page: Page) -> None:
    put_in(scene.catalog, scene.storage, small_kit(), ["ada", "local"], opened=False)
    page.open("reader-studies").shows("Spots on films")
    page.press("[data-study-action=open]")
    page.shows("spots is open now", "#said")
    page.press("[data-study-action=close]")
    page.shows("spots is closed now", "#said")
    assert page.driver.execute_script(_FAULTS) == []


def test_a_dropped_file_shows_the_clause_that_refused(scene: Scene, page: Page, tmp_path: Path) -> None:
    result = local_client(scene).get("/api/v1/results", params={"kind": "sr"}).json()["items"][0]
    (tmp_path / "Doe Jane.dcm").write_bytes(local_client(scene).get(result["dicom"]).content)
    page.open("routes")
    page.find("#try-files").send_keys(str(tmp_path / "Doe Jane.dcm"))
    page.shows("not a result of WhyRay itself", "#controls")
    assert "Doe" not in page.text()


def test_a_lost_connection_is_told(driver: webdriver.Chrome, scene: Scene) -> None:
    server = serve_admin(local_client(scene).app, "127.0.0.1", 0)  # type: ignore[arg-type]
    page = Page(driver, server.url).open()
    page.shows("live,", "#live")
    server.stop()
    page.shows("no connection", "#live")
    driver.get("about:blank")


def test_with_a_token_the_page_asks_for_it(driver: webdriver.Chrome, scene: Scene) -> None:
    scene.config = config_of(CONFIG + "admin: {token: {env: TOKEN}}\n", scene.folder, TOKEN=TOKEN)
    server = serve_admin(local_client(scene).app, "127.0.0.1", 0)  # type: ignore[arg-type]
    page = Page(driver, server.url)
    page.driver.get(server.url)
    page.shows("Log in")
    page.find("#password").send_keys("wrong" + Keys.ENTER)
    page.shows("The access token is wrong. You are not logged in.")
    page.find("#password").send_keys(TOKEN + Keys.ENTER)
    page.shows("Needs attention")
    assert "token" in page.text("header")
    page.press("header button")
    page.shows("Log in")
    driver.get("about:blank")
    server.stop()


def test_a_viewer_is_offered_neither_pictures_nor_buttons_and_an_operator_both(
    driver: webdriver.Chrome, scene: Scene
) -> None:
    scene.config = config_of(CONFIG, scene.folder)
    password = "correct horse battery"
    with scene.catalog.begin() as session:
        for role in ("viewer", "operator"):
            accounts.add(session, role, role, hashed(password), scene.now, actor="test")  # type: ignore[arg-type]
    server = serve_admin(local_client(scene).app, "127.0.0.1", 0)  # type: ignore[arg-type]
    page = Page(driver, server.url)
    offered = {}
    for role in ("viewer", "operator"):
        driver.get(server.url)
        page.find("#user").send_keys(role)
        page.find("#password").send_keys(password + Keys.ENTER)
        page.shows("Needs attention")
        assert f"{role} · {role}" in page.text("header")
        assert "Accounts" not in page.text("nav")
        page.open("jobs").shows("cxr-findings")
        buttons = len(page.all("[data-action]"))
        page.open("results").shows("which this role does not see" if role == "viewer" else "Cardiomegaly")
        page.open("destinations").shows("PACS_MAIN")
        offered[role] = (buttons, len(page.all("[data-key^=echo]")))
        page.open("feedback").shows("Verdicts by package")
        page.open(f"jobs/{scene.jobs['done']}").shows("Findings")
        assert bool(page.all("main img")) == (role == "operator")
        assert not page.all('a[href$="/dicom"]')
        assert page.complaints() == []
        page.press("header button")
        page.shows("Log in")
    assert offered["viewer"] == (0, 0)
    assert min(offered["operator"]) > 0
    driver.get("about:blank")
    server.stop()


@pytest.mark.parametrize("view", [*VIEWS, "job", "study", "method"])
def test_a_view_can_be_used_with_keyboard_and_screen_reader(afternoon: Scene, still: Page, view: str) -> None:
    details = {
        "job": f"jobs/{afternoon.jobs['done']}",
        "study": f"studies/{afternoon.uid('done')}",
        "method": "methods/similar-cases",
    }
    fragment = details.get(view, view)
    still.open(fragment)
    still.until(lambda: "reading …" not in still.text() and still.all("#body *"), "the view")
    assert still.driver.execute_script(_FAULTS) == []
    assert still.complaints() == []


@pytest.fixture
def phone(still: Page) -> Iterator[Page]:
    """The page on a screen 375 pixels wide."""
    size = {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    still.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield still
    still.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("view", VIEWS)
def test_on_a_phone_nothing_lies_beside_the_screen(phone: Page, view: str) -> None:
    phone.open(view)
    phone.until(lambda: "reading …" not in phone.text() and phone.all("#body *"), "the view")
    width = "return document.documentElement.scrollWidth"
    assert phone.driver.execute_script(width) == 375


def test_on_a_phone_what_is_stuck_has_the_width_of_its_panel(phone: Page) -> None:
    phone.open("overview")
    phone.shows("Needs attention")
    share = "return [...document.querySelectorAll('.attention li')].map(i => i.children[0].offsetWidth / i.offsetWidth)"
    assert min(phone.driver.execute_script(share)) > 0.8


_FAULTS = (Path(__file__).parent / "accessibility.js").read_text("utf-8")


def test_the_first_tab_stop_skips_to_the_content(still: Page) -> None:
    still.open()
    still.shows("Needs attention")
    still.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert still.driver.switch_to.active_element.text == "Skip to content"
