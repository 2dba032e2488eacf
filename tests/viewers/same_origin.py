"""OHIF and an archive's DICOMweb under one origin, as a site's reverse proxy serves them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

_KEPT = ("content-type", "content-range", "accept-ranges")
_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "orthanc",
    "configuration": {
        "friendlyName": "Orthanc",
        "name": "orthanc",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "wadoUriRoot": "/dicom-web",
        "qidoSupportsIncludeField": False,
        "supportsReject": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
    },
}
_CONFIG = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 1,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "showLoadingIndicator": True,
    "investigationalUseDialog": {"option": "never"},
    "disableConfirmationPrompts": True,
    "strictZSpacingForVolumeViewport": True,
    "defaultDataSourceName": "orthanc",
    "dataSources": [_SOURCE],
}


FINDINGS_WITHOUT_COORDINATES = """
window.config.customizationService = [{onBeforeSRAddMeasurement: {$set:
  ({measurement}) => (measurement.coords.length ? measurement : {...measurement, coords: [{}]})}}];
"""
"""OHIF 3.12 gives up a whole report when one of its findings has no coordinates: docs/viewers.md gives sites this."""


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *request: object, archive: httpx.Client, directory: str) -> None:
        self.archive = archive
        super().__init__(*request, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path.startswith("/dicom-web/"):
            self._forward()
        elif self.path == "/app-config.js":
            script = f"window.config = {json.dumps(_CONFIG)};\n{FINDINGS_WITHOUT_COORDINATES}"
            self._answer(200, {"content-type": "text/javascript"}, script.encode())
        else:
            if not Path(self.translate_path(self.path)).is_file():
                self.path = "/index.html"  # the routes of a single-page application
            super().do_GET()

    def _forward(self) -> None:
        # the archive writes the addresses of bulk data from the host that it was asked by
        wanted = {"accept": self.headers.get("accept", "*/*"), "host": self.headers["host"]}
        answer = self.archive.get(self.path, headers=wanted)
        self._answer(
            answer.status_code, {key: answer.headers[key] for key in _KEPT if key in answer.headers}, answer.content
        )

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Chromium drops connections of pages that it leaves."""


@contextmanager
def served(viewer: Path, archive_url: str) -> Iterator[str]:
    """Serve the viewer's folder, its configuration, and /dicom-web of the archive; gives the address."""
    with httpx.Client(base_url=archive_url, timeout=120) as archive:
        handler = partial(_Handler, archive=archive, directory=str(viewer))
        with _Server(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()
