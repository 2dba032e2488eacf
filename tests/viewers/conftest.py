"""A real archive that holds real studies with their results, a headless Chromium, and OHIF in front of the archive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium import webdriver

from admin import browser
from peers import OrthancServer, free_port
from viewers import cases, ohif_package, same_origin
from viewers.cases import Case
from viewers.ohif import Ohif
from whyray.demo.orthanc import find_orthanc

_PLUGINS = Path("/usr/share/orthanc/plugins")
_WEB_VIEWER = _PLUGINS / "libOrthancWebViewer.so"


@dataclass(frozen=True)
class Archive:
    """An Orthanc, and its identifiers of the instances in it, by SOP Instance UID."""

    server: OrthancServer
    identifiers: Mapping[str, str]

    def instance(self, sop_instance_uid: str) -> str:
        return self.identifiers[sop_instance_uid]

    def series(self, sop_instance_uid: str) -> str:
        return str(self.server.get(f"/instances/{self.instance(sop_instance_uid)}")["ParentSeries"])


@pytest.fixture(scope="session")
def head_ct() -> Case:
    return cases.head_ct()


@pytest.fixture(scope="session")
def chest() -> Case:
    return cases.chest_radiograph()


@pytest.fixture(scope="session")
def film() -> Case:
    return cases.film()


@pytest.fixture(scope="session")
def archive(head_ct: Case, chest: Case, film: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if find_orthanc() is None:
        pytest.skip("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb")
    plugins = [str(path) for path in (_PLUGINS / "libOrthancDicomWeb.so", _WEB_VIEWER) if path.is_file()]
    folder = tmp_path_factory.mktemp("viewers")
    settings = {"Plugins": plugins, "WebViewer": {"CachePath": str(folder / "cache")}}
    server = OrthancServer(folder / "orthanc", dicom_port=free_port(), http_port=free_port(), settings=settings)
    server.start()
    try:
        yield Archive(server, {**head_ct.store(server.url), **chest.store(server.url), **film.store(server.url)})
    finally:
        server.kill()


@pytest.fixture(scope="session")
def web_viewer(archive: Archive) -> str:
    """The address of Orthanc's web viewer."""
    if not _WEB_VIEWER.is_file():
        pytest.skip("Orthanc's web viewer is not installed: apt-get install orthanc-webviewer")
    return f"{archive.server.url}/web-viewer/app/viewer.html"


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("chromium or chromedriver is not installed: apt-get install chromium chromium-driver")
    flags = (
        "--use-angle=swiftshader",  # WebGL without a graphics card
        "--enable-unsafe-swiftshader",
        "--force-color-profile=srgb",
        "--hide-scrollbars",
    )
    driver = browser.start(chromium, chromedriver, tmp_path_factory.mktemp("profile"), flags)
    yield driver
    driver.quit()


@pytest.fixture
def window(driver: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser, on an empty page before and after."""
    yield driver
    driver.get("about:blank")


@pytest.fixture(scope="session")
def artefacts(request: pytest.FixtureRequest) -> Path:
    """Where screenshots are kept."""
    folder = Path(request.config.rootpath) / "test-artefacts" / "viewers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def ohif_url(archive: Archive) -> Iterator[str]:
    if not any("DicomWeb" in str(path) for path in _PLUGINS.glob("*.so")):
        pytest.skip("Orthanc's DICOMweb is not installed: apt-get install orthanc-dicomweb")
    try:
        folder = ohif_package.folder()
    except ohif_package.OhifMissingError as missing:
        pytest.skip(str(missing))
    with same_origin.served(folder, archive.server.url) as url:
        yield url


@pytest.fixture
def ohif(window: webdriver.Chrome, ohif_url: str, artefacts: Path) -> Ohif:
    return Ohif(window, ohif_url, artefacts)
