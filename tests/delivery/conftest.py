"""Fixtures of the delivery tests; the parts are in `delivery_house`."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    InstanceAvailabilityNotification,
    SecondaryCaptureImageStorage,
    StorageCommitmentPushModel,
    Verification,
)

from delivery_site import Clock, DeliverySite, InformedAe, RisFactory, ScpFactory, TellingScp
from peers import free_port
from synthetic import ball, slices, stack, volume_of, write
from whyray.catalog import Catalog, sqlite_url
from whyray.storage import FolderStorage


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight small CT images of one series, valid and different."""
    planes = stack(8, (24, 24), distance=3.0)
    series = slices(volume_of(planes, ball((0.0, 0.0, 0.0), 6.0)), planes, modality="CT")
    return write(series, tmp_path_factory.mktemp("images"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[DeliverySite]:
    clock = Clock()
    catalog = Catalog(sqlite_url(tmp_path / "catalog.sqlite"), clock=clock)
    with ExitStack() as stack:
        yield DeliverySite(catalog, FolderStorage(tmp_path / "storage"), clock, stack)
    catalog.close()


@pytest.fixture
def scp() -> Iterator[ScpFactory]:
    """A factory of telling SCPs: `scp(answer=..., classes=..., commitment=..., shows=(certificate, key), ...)`."""
    with ExitStack() as stack:

        def start(
            answer: Callable[[str, int], int | Dataset | str] = lambda _uid, _count: 0x0000,
            *,
            ae_title: str = "TELLING",
            classes: tuple[str, ...] = (CTImageStorage, SecondaryCaptureImageStorage),
            syntaxes: tuple[str, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian),
            commitment: bool = False,
            require_called: bool = False,
            allow_calling: tuple[str, ...] = (),
            most: int = 10,
            largest_pdu: int = 16382,
            shows: tuple[Path, Path] | None = None,
        ) -> TellingScp:
            told = TellingScp(free_port(), ae_title, answer)
            ae = AE(ae_title)
            ae.require_called_aet = require_called
            ae.require_calling_aet = list(allow_calling)
            ae.maximum_associations = most
            ae.maximum_pdu_size = largest_pdu
            by_tls = None
            if shows is not None:
                by_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                by_tls.load_cert_chain(*shows)
            ae.add_supported_context(Verification)
            for sop_class in classes:
                ae.add_supported_context(sop_class, list(syntaxes))
            handlers = [
                (evt.EVT_C_STORE, told.on_store),
                (evt.EVT_ACCEPTED, told.on_association),
                (evt.EVT_PDU_RECV, told.on_pdu),
            ]
            if commitment:
                ae.add_supported_context(StorageCommitmentPushModel)
                handlers.append((evt.EVT_N_ACTION, told.on_action))
            server = ae.start_server(("127.0.0.1", told.port), block=False, ssl_context=by_tls, evt_handlers=handlers)
            # the server looks up twice a second: the next test need not wait for that
            stack.callback(threading.Thread(target=server.shutdown).start)
            return told

        yield start


@pytest.fixture
def ris() -> Iterator[RisFactory]:
    """A factory of AEs that are told of arrivals: `ris(answer=..., port=..., offers=..., on_association=...)`."""
    with ExitStack() as stack:

        def start(
            answer: Callable[[int], int | str] = lambda _count: 0x0000,
            *,
            port: int | None = None,
            offers: str = InstanceAvailabilityNotification,
            on_association: Callable[[evt.Event], None] = lambda _event: None,
        ) -> InformedAe:
            informed = InformedAe(port or free_port(), answer)
            ae = AE("RIS")
            ae.add_supported_context(offers)
            handlers = [(evt.EVT_N_CREATE, informed.on_create), (evt.EVT_REQUESTED, on_association)]
            server = ae.start_server(("127.0.0.1", informed.port), block=False, evt_handlers=handlers)
            stack.callback(threading.Thread(target=server.shutdown).start)
            return informed

        yield start
