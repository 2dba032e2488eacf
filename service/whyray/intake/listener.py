"""The storage SCP: starts, takes a new configuration while it runs, stops."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation
from pynetdicom.service_class import ServiceClass
from pynetdicom.sop_class import Verification, uid_to_service_class

from whyray.base.errors import ConfigError
from whyray.base.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from whyray.catalog import Catalog
from whyray.config import Listener
from whyray.intake.admission import STORAGE_SERVICE, HostNames, Rejection, rejection, supported
from whyray.intake.catalog_batch_writer import CatalogBatchWriter
from whyray.intake.commitment import CommitmentProvider, ReportTo
from whyray.intake.door import Caps, Door
from whyray.intake.incoming_instance import IncomingInstance
from whyray.intake.receiver import InstanceReceiver, on_closed, on_released, store
from whyray.intake.server import IntakeServer
from whyray.intake.stow import StoreRequest
from whyray.storage import Storage

if TYPE_CHECKING:
    from whyray.base.http_server import HttpServer
    from whyray.intake.dicomweb import MoreRoutes

_NO_LIMIT = 1_000_000
_HTTP_GRACE = 5.0
_log = logging.getLogger("whyray.intake")


class StorageScp:
    """A listening storage SCP; made by `start_listener`."""

    def __init__(
        self,
        listener: Listener,
        receiver: InstanceReceiver,
        storage: Storage,
        report_to: ReportTo,
        handlers: Sequence[tuple[Any, ...]],
        web_routes: MoreRoutes,
    ) -> None:
        self._listener = listener
        self._handlers = handlers
        self._commitment = CommitmentProvider(receiver.catalog, report_to, lambda: self._listener.ae_title)
        self._receiver = receiver
        self._storage = storage
        self._resolve = HostNames()
        self._caps = Caps(lambda words: receiver.note("warning", "intake.limit", words))
        self._door = Door(lambda: self._listener, self._resolve, self._caps)
        self._open: dict[Any, tuple[str, str]] = {}
        self._stopped = False
        self._lock = threading.Lock()
        self._ae = AE(ae_title=listener.ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.maximum_associations = _NO_LIMIT  # counted in _on_requested, where probes don't count
        self._ae.add_supported_context(Verification)
        self._apply_limits()
        tls = listener.tls
        self._server = None if tls is not None and tls.only else self._serve(listener, listener.port)
        self._tls_server: IntakeServer | None = None
        self._dicomweb: HttpServer | None = None
        try:
            if tls is not None:
                self._tls_server = self._serve(listener, tls.port, tls.context())
            if listener.dicomweb is not None:
                from whyray.intake.dicomweb import start_dicomweb  # an HTTP server: 10 MB where nobody wants one

                self._dicomweb = start_dicomweb(lambda: self._listener, receiver, self._begin, web_routes)
        except BaseException:
            self._shut()
            raise

    @property
    def dicomweb_port(self) -> int | None:
        """The TCP port of STOW-RS; None where it is off."""
        return self._dicomweb.port if self._dicomweb is not None else None

    @property
    def port(self) -> int | None:
        """The plain TCP port: the configured one, or the one found for port 0; None where TLS alone is wanted."""
        return int(self._server.server_address[1]) if self._server is not None else None

    @property
    def tls_port(self) -> int | None:
        """The TCP port of DICOM over TLS; None where it is off."""
        return int(self._tls_server.server_address[1]) if self._tls_server is not None else None

    @property
    def associations(self) -> int:
        """How many associations are open."""
        return len(self._peers())

    def _peers(self) -> list[tuple[str, str]]:
        """Calling AE title and address of each association that is open."""
        with self._lock:
            self._open = {association: peer for association, peer in self._open.items() if association.is_alive()}
            return list(self._open.values())

    def fetched(self, sender: str, study_uid: str) -> StoreRequest:
        """Where instances of a study go that WhyRay itself has asked `sender` for; no route is asked about them."""
        return StoreRequest(replace(self._receiver, routed=False), self._begin, sender, study_uid, asked=True)

    def update(self, listener: Listener) -> None:
        """Obey a new configuration; associations that are open go on. Address and port of STOW-RS and TLS stay.

        Raises
        ------
        ConfigError
            If the new address or port can't be listened on; then the old configuration stays in force.
        """
        old = self._listener
        if self._server is not None and (listener.address, listener.port) != (old.address, old.port):
            former, self._server = self._server, self._serve(listener, listener.port)
            former.shutdown()
        self._listener = listener
        self._apply_limits()

    def stop(self, *, grace: float = 5.0) -> None:
        """Let nobody new in, give open associations `grace` seconds to end, abort the rest; harmless when repeated."""
        if self._stopped:
            return
        self._stopped = True
        self._shut()
        deadline = time.monotonic() + grace
        while self.associations and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._dicomweb is not None:
            self._dicomweb.stop(within=grace + _HTTP_GRACE)
        self._commitment.close()
        self._ae.shutdown()

    def _shut(self) -> None:
        for server in (self._server, self._tls_server):
            if server is not None:
                server.stopping = True
                server.shutdown()

    def _apply_limits(self) -> None:
        limits = self._listener.limits
        self._ae.maximum_pdu_size = limits.max_pdu
        self._ae.acse_timeout = limits.acse_timeout.total_seconds()
        self._ae.dimse_timeout = limits.dimse_timeout.total_seconds()
        self._ae.network_timeout = limits.network_timeout.total_seconds()

    def _serve(self, listener: Listener, port: int, tls: Callable[[], ssl.SSLContext] | None = None) -> IntakeServer:
        handlers = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_SOP_COMMON, _on_sop_common),
            (evt.EVT_RELEASED, on_released, [self._receiver]),
            (evt.EVT_CONN_CLOSE, on_closed, [self._receiver]),
            (evt.EVT_N_ACTION, self._commitment.on_action),
            *self._handlers,
        ]
        try:
            server: IntakeServer = self._ae.make_server(
                (listener.address, port),
                evt_handlers=handlers,
                server_class=IntakeServer,
                begin=self._begin,
                store=partial(store, receiver=self._receiver),
                ended=self._receiver.ended,
                rejected=self._receiver.rejected,
                stall=lambda: self._listener.limits.dimse_timeout.total_seconds(),
                door=self._door,
                turned_away=self._receiver.turned_away,
                tls=tls,
            )
        except OSError as error:
            raise ConfigError(
                f"can't listen on {listener.address} port {port}: {error.strerror}",
                advice="Another program may have this port; name a free one in listener.port.",
            ) from error
        self._ae._servers.append(server)
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.5}, name="whyray-listener", daemon=True
        ).start()
        return server

    def _begin(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, calling_ae: str
    ) -> IncomingInstance:
        limits = self._listener.limits
        return IncomingInstance(
            self._storage,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            calling_ae=calling_ae,
            largest=limits.max_instance_size,
            min_free=limits.min_free_disk,
        )

    def _on_requested(self, event: Any) -> None:
        association, request = event.assoc, event.assoc.requestor.primitive
        calling = str(request.calling_ae_title).strip()
        address = str(association.requestor.address_info.address)
        peers = self._peers()
        of_address = sum(where == address for _, where in peers)
        of_title = sum(title == calling for title, _ in peers)
        refused = rejection(
            self._listener,
            called=str(request.called_ae_title).strip(),
            calling=calling,
            address=address,
            by_tls=isinstance(association.dul.socket.socket, ssl.SSLSocket),
            in_use=len(peers),
            resolve=self._resolve,
            of_address=of_address,
            of_title=of_title,
        )
        if refused is not None:
            self._reject(association, refused, calling, address)
            return
        limits = self._listener.limits
        self._caps.look("associations", len(peers), limits.max_associations)
        self._caps.look("reserve", len(peers), limits.max_associations - limits.reserve)
        self._caps.look(("address", address), of_address, limits.of_an_address)
        self._caps.look(("AE title", calling), of_title, limits.of_an_ae_title)
        with self._lock:
            self._open[association] = calling, address
        association.acceptor.supported_contexts = supported(request.presentation_context_definition_list)

    def _reject(self, association: Any, refused: Rejection, calling: str, address: str) -> None:
        association.upper_layer.settled()
        association.acse.send_reject(refused.result, refused.source, refused.reason)
        evt.trigger(association, evt.EVT_REJECTED, {})
        self._receiver.rejected(calling, address, refused.words)
        if refused.cap is not None:
            self._caps.strike(refused.cap, refused.words)
        association.kill()


def start_listener(
    listener: Listener,
    catalog: Catalog,
    storage: Storage,
    *,
    is_own: Callable[[Dataset], bool] = lambda _: False,
    report_to: ReportTo = lambda _: None,
    handlers: Sequence[tuple[Any, ...]] = (),
    web_routes: MoreRoutes = lambda _: (),
    on_release: Callable[[], None] = lambda: None,
) -> StorageScp:
    """Start to listen.

    Parameters
    ----------
    is_own
        Whether WhyRay made this object itself, from a header that has the UIDs, Manufacturer, Manufacturer's Model
        Name, Device UID and Contributing Equipment Sequence, where the object has them.
    report_to
        Where a peer that asks for storage commitment listens for the report; see `ReportTo`. Peers that it does not
        know are told on the association on which they asked, if they keep it open.
    handlers
        Further pynetdicom event handlers: `whyray.delivery.commitment_handlers` takes in peers' own reports.
    web_routes
        What else the DICOMweb listener serves; see `MoreRoutes`.
    on_release
        Called when an association that brought instances has ended in good order, and the catalog knows of it.

    Raises
    ------
    ConfigError
        If the address or port can't be listened on.
    """
    receiver = InstanceReceiver(storage, catalog, CatalogBatchWriter(catalog), is_own, on_release=on_release)
    return StorageScp(listener, receiver, storage, report_to, handlers, web_routes)


def _on_sop_common(event: Any) -> dict[Any, SOPClassCommonExtendedNegotiation]:
    """Say of storage SOP classes that pynetdicom does not know that they are storage: it would abort at the C-STORE."""
    services = {}
    for context in event.assoc.acceptor.supported_contexts:
        uid = context.abstract_syntax
        if uid_to_service_class(uid) is ServiceClass:
            services[uid] = item = SOPClassCommonExtendedNegotiation()
            item.sop_class_uid, item.service_class_uid = uid, STORAGE_SERVICE
    return services
