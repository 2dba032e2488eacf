"""A workflow manager orders work by UPS-RS from the running service, which is killed at every turn."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import yaml
from pydicom import Dataset
from pydicom.uid import generate_uid

from e2e.studies import film, planted_packages, routes
from peers import OrthancFactory, free_port, until
from running import Running
from synthetic import write
from worklist.conftest import workitem

CODE = {"code": "films-ai", "scheme": "99SITE", "route": "films"}


def test_ordered_work_is_done_once_though_the_performer_is_killed_in_between(
    serve: Callable[..., Running], orthanc: OrthancFactory, tmp_path: Path
) -> None:
    archive = orthanc()
    image = film("ordered")
    archive.upload(write([image], tmp_path / "film"))
    planted_packages(tmp_path / "packages")
    (route,) = [route for route in routes("archive", on_release=False) if route["name"] == "films"]
    port = free_port()
    service = serve(
        {
            "listener": {
                "dicomweb": {"address": "127.0.0.1", "port": port, "worklist": {"take": [CODE], "images": "archive"}}
            },
            "destinations": {"archive": {"url": f"http://127.0.0.1:{archive.http_port}/dicom-web"}},
            "packages": {"folders": [str(tmp_path / "packages")]},
            "routes": [{**route, "by_order": True, "send": {"to": ["archive"], "as": ["sc", "seg", "pm", "sr"]}}],
        }
    )
    assert yaml.safe_load(service.path.read_text())["routes"][0]["by_order"]
    base = f"http://127.0.0.1:{port}/dicom-web/workitems"
    uid = generate_uid(prefix=None)
    order = workitem(image, uid=uid)
    created = httpx.post(base, json=[order.to_json_dict()], headers={"Content-Type": "application/dicom+json"})
    assert created.status_code == 201, created.text

    def seen() -> Dataset | None:
        try:
            answer = httpx.get(f"{base}/{uid}", timeout=5)
        except httpx.HTTPError:
            return None  # it is just being started again
        return Dataset.from_json(answer.json()[0]) if answer.is_success else None

    def kill_intake() -> None:
        (pid,) = {pid for role, pid in service.roles() if role == "intake" and _runs(pid)}
        os.kill(pid, signal.SIGKILL)
        until(lambda: not _runs(pid), what="the end of the intake role")

    kill_intake()
    until(lambda: (workitem := seen()) is not None and workitem.ProcedureStepState == "IN PROGRESS", deadline=120)
    kill_intake()
    done = until(
        lambda: workitem if (workitem := seen()) is not None and workitem.ProcedureStepState == "COMPLETED" else None,
        what=f"the workitem's completion ({service.log})",
        deadline=240,
    )
    assert done is not None
    assert len(service.jobs()) == 1
    performed = done.UnifiedProcedureStepPerformedProcedureSequence[0]
    named = set()
    for output in performed.OutputInformationSequence:
        url = output.WADORSRetrievalSequence[0].RetrieveURL
        metadata = httpx.get(f"{url}/metadata", headers={"Accept": "application/dicom+json"}).json()
        there = {instance["00080018"]["Value"][0] for instance in metadata}
        wanted = {reference.ReferencedSOPInstanceUID for reference in output.ReferencedSOPSequence}
        assert wanted <= there, "what the workitem names can be fetched where it says"
        named |= wanted
    assert len(named) == len(service.results()) == 5


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
