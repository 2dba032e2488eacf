"""A worklist over a site of its own, served by HTTP, and workitems as a hospital's workflow manager writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from pydicom import Dataset
from pydicom.uid import generate_uid

from intake.conftest import listener_settings
from intake.web import dicomweb
from site_under_test import ROUTE, Site, film, site
from whyray.app.context import Context
from whyray.app.orders import OrderedJobs
from whyray.config import Orders, Secret, Task, Worklist
from whyray.intake import StorageScp, start_listener
from whyray.worklist import OwnWorklist, Performer, RemoteWorklist, Source
from whyray.worklist.web import worklist_routes

TOKEN = "0123456789abcdef-workflow"
TASK = Task(code="films-ai", scheme="99SITE", route="films")
PATIENT = "Doe^Secret"

__all__ = ["ROUTE", "film", "site"]


def code(value: str = "films-ai", scheme: str = "99SITE") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "Explain films"
    return item


def workitem(*images: Dataset, uid: str | None = None, whole_series: bool = False, **changes: Any) -> Dataset:
    """A workitem as in PS3.4 table CC.2.5-3, about these images."""
    made = Dataset()
    made.SOPInstanceUID = uid or generate_uid(prefix=None)
    made.TransactionUID = None
    made.ProcedureStepState = "SCHEDULED"
    made.ScheduledProcedureStepPriority = "MEDIUM"
    made.ScheduledProcedureStepStartDateTime = "20261101120000"
    made.ProcedureStepLabel = "Films by AI"
    made.WorklistLabel = "AI"
    made.InputReadinessState = "READY"
    made.ScheduledWorkitemCodeSequence = [code()]
    made.PatientName, made.PatientID = PATIENT, "P-4711"
    made.InputInformationSequence = []
    for uids in dict.fromkeys((image.StudyInstanceUID, image.SeriesInstanceUID) for image in images):
        item = Dataset()
        item.TypeOfInstances = "DICOM"
        item.StudyInstanceUID, item.SeriesInstanceUID = uids
        item.ReferencedSOPSequence = []
        for image in images if not whole_series else ():
            if (image.StudyInstanceUID, image.SeriesInstanceUID) == uids:
                reference = Dataset()
                reference.ReferencedSOPClassUID = image.SOPClassUID
                reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
                item.ReferencedSOPSequence.append(reference)
        made.InputInformationSequence.append(item)
    for keyword, value in changes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


@dataclass
class Served:
    """WhyRay's own worklist by HTTP, and who asks it."""

    scp: StorageScp
    own: OwnWorklist
    asked: list[httpx.Response] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.scp.dicomweb_port}/dicom-web"

    def send(
        self,
        method: str,
        path: str,
        dataset: Dataset | None = None,
        *,
        token: str | None = TOKEN,
        headers_more: Mapping[str, str] | None = None,
        **more: Any,
    ):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= headers_more or {}
        if dataset is not None:
            more["json"] = [dataset.to_json_dict()]
            headers["Content-Type"] = "application/dicom+json"
        answer = httpx.request(method, self.url + path, headers=headers, timeout=30, **more)
        self.asked.append(answer)
        return answer

    def create(self, dataset: Dataset) -> str:
        answer = self.send("POST", "/workitems", dataset)
        assert answer.status_code == 201, answer.text
        assert answer.headers["Location"].endswith(dataset.SOPInstanceUID)
        return str(dataset.SOPInstanceUID)

    def retrieve(self, uid: str) -> Dataset:
        answer = self.send("GET", f"/workitems/{uid}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/dicom+json"
        return Dataset.from_json(answer.json()[0])

    def state(self, uid: str) -> str:
        return str(self.retrieve(uid).ProcedureStepState)

    def change_state(self, uid: str, state: str, transaction: str) -> int:
        wanted = Dataset()
        wanted.TransactionUID, wanted.ProcedureStepState = transaction, state
        return self.send("PUT", f"/workitems/{uid}/state", wanted).status_code


@pytest.fixture
def served(site: Site) -> Iterator[Served]:
    """The DICOMweb listener of the site with its worklist, behind a token."""
    own = OwnWorklist(site.catalog, site.storage)
    with ExitStack() as stack:
        scp = start_listener(
            listener_settings(dicomweb=dicomweb(RIS=TOKEN)),
            site.catalog,
            site.storage,
            web_routes=lambda admit: worklist_routes(own, admit, lambda: True),
        )
        stack.callback(scp.stop, grace=2.0)
        yield Served(scp, own)


MakePerformer = Callable[..., Performer]


@pytest.fixture
def performer(site: Site, served: Served) -> MakePerformer:
    """Performers of the site: of its own worklist, or with `remote=True` of the one that is served, by HTTP."""

    def make(*, remote: bool = False, images: str | None = None, owner: str = "one") -> Performer:
        context = Context(site.folder / "whyray.yaml", None, site.catalog, site.storage)  # type: ignore[arg-type]
        orders = Orders(take=(TASK,), images=images)
        if remote:
            token = Secret({"env": "TOKEN"}, SecretStr(TOKEN))
            settings = Worklist(take=(TASK,), images=images, url=served.url, token=token)
            source = Source(RemoteWorklist("ris", settings), settings, settings.poll)
        else:
            source = Source(served.own, orders, timedelta(0))
        return Performer(
            catalog=site.catalog,
            storage=site.storage,
            config=lambda: site.config,
            sources=lambda: {source.worklist.name: source},
            keep=served.scp.fetched,
            make_jobs=OrderedJobs(
                site.catalog, lambda: site.config, context.read_header, lambda package: f"{package.split('@')[0]}@1.0.0"
            ),
            owner=owner,
            uid_source=lambda: generate_uid(prefix=None),
        )

    return make
