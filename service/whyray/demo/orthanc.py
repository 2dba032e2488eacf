"""Orthanc as a process on this machine: started in its own folder, asked over its REST API, stopped for sure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from whyray.base.errors import PeerUnreachable
from whyray.demo.modality import Modality

_PROGRAMS = ("Orthanc", "/usr/sbin/Orthanc", "/usr/local/bin/Orthanc", "/usr/local/sbin/Orthanc")
_PLUGIN_FOLDERS = (Path("/usr/share/orthanc/plugins"), Path("/usr/local/share/orthanc/plugins"))
_DICOMWEB = "libOrthancDicomWeb.so"


def find_orthanc() -> str | None:
    """The path of the Orthanc program, if it is installed."""
    return next((program for name in _PROGRAMS if (program := shutil.which(name))), None)


def _plugins() -> list[str]:
    return [str(folder / _DICOMWEB) for folder in _PLUGIN_FOLDERS if (folder / _DICOMWEB).is_file()][:1]


class OrthancServer:
    """One Orthanc process with DICOM, REST and, where the plugin is installed, DICOMweb.

    Parameters
    ----------
    folder
        Its configuration, database, files and log; kept by `stop`, so that `start` finds the same studies again.
    modalities
        The peers that it may send to, by the names that its REST API uses.
    lua
        A script of event handlers.
    settings
        Further entries of its configuration; they win over those made here.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dicom_port: int,
        http_port: int,
        ae_title: str = "ORTHANC",
        modalities: Mapping[str, Modality] | None = None,
        lua: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.ae_title = folder, ae_title
        self.host, self.dicom_port, self.http_port = "127.0.0.1", dicom_port, http_port
        self.url = f"http://{self.host}:{http_port}"
        self.dicomweb_url = f"{self.url}/dicom-web"
        self.log = folder / "orthanc.log"
        self._modalities, self._lua, self._settings = dict(modalities or {}), lua, dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OrthancServer:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self, *, deadline: float = 60.0) -> None:
        """Start, and wait until it answers.

        Raises
        ------
        PeerUnreachable
            If Orthanc is not installed, ends at once, or does not answer within `deadline` seconds.
        """
        program = find_orthanc()
        if program is None:
            raise PeerUnreachable("Orthanc is not installed here", advice="apt-get install orthanc orthanc-dicomweb")
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(), indent=2))
        # without TCP_NODELAY each instance waits 40-50 ms for the peer's delayed acknowledgement
        environment = {**os.environ, "TCP_NODELAY": "1"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # nosec B603  # the Orthanc that was found
                [program, str(configuration)], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=environment, cwd=self.folder,
                start_new_session=True,  # Ctrl-C in the terminal is for who started it, who stops it in order
            )  # fmt: skip
        until = time.monotonic() + deadline
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise PeerUnreachable(f"Orthanc did not start: {self._last_words()}", advice=f"Look into {self.log}.")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop and wait for the process to be gone; a second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End the process as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def get(self, path: str) -> Any:
        """GET a resource of the REST API as JSON."""
        return _answer(httpx.get(f"{self.url}{path}", timeout=60)).json()

    def post(self, path: str, body: Any) -> Any:
        """POST JSON (or bytes, as they are) to the REST API; the answer as JSON."""
        sent = {"content": body} if isinstance(body, bytes) else {"json": body}
        return _answer(httpx.post(f"{self.url}{path}", timeout=60, **sent)).json()

    def delete(self, path: str) -> None:
        """DELETE a resource of the REST API."""
        _answer(httpx.delete(f"{self.url}{path}", timeout=60))

    def file(self, orthanc_id: str) -> bytes:
        """The DICOM file of an instance, as Orthanc keeps it."""
        return _answer(httpx.get(f"{self.url}/instances/{orthanc_id}/file", timeout=60)).content

    def upload(self, paths: Sequence[Path]) -> list[str]:
        """Store files over the REST API; says Orthanc's identifiers of the instances."""
        return [str(self.post("/instances", path.read_bytes())["ID"]) for path in paths]

    def instances(self, study_instance_uid: str | None = None) -> dict[str, str]:
        """The instances that it holds, of one study or of all: SOP Instance UID → Orthanc's identifier."""
        query = {} if study_instance_uid is None else {"StudyInstanceUID": study_instance_uid}
        held = self.post("/tools/find", {"Level": "Instance", "Query": query, "Expand": True})
        return {instance["MainDicomTags"]["SOPInstanceUID"]: instance["ID"] for instance in held}

    def study(self, study_instance_uid: str) -> str | None:
        """Orthanc's identifier of a study."""
        query = {"StudyInstanceUID": study_instance_uid}
        studies = self.post("/tools/find", {"Level": "Study", "Query": query})
        return str(studies[0]) if studies else None

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/system", timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _last_words(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-5:]) if self.log.exists() else "no log"

    def _configuration(self) -> dict[str, Any]:
        scripts = []
        if self._lua is not None:
            script = self.folder / "rules.lua"
            script.write_text(self._lua)
            scripts = [str(script)]
        return {
            "Name": self.ae_title,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "UnknownSopClassAccepted": True,
            "StableAge": 1,
            "ConcurrentJobs": 4,
            "LuaScripts": scripts,
            "Plugins": _plugins(),
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
            "DicomModalities": {
                name: {"AET": modality.ae_title, "Host": modality.host, "Port": modality.port}
                for name, modality in self._modalities.items()
            },
            **self._settings,
        }


def _answer(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise PeerUnreachable(f"Orthanc answered {response.status_code} to {response.request.method} {response.url}")
    return response
