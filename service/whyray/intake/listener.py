"""The storage SCP: starts, takes a new configuration while it runs, stops."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import FileIO
from typing import TYPE_CHECKING, Any, NamedTuple

from pydicom import Dataset

from whyray.base.errors import ConfigError
from whyray.catalog import Catalog, events
from whyray.config import Listener
from whyray.intake.admission import HostNames
from whyray.intake.associations import Associations, not_listening
from whyray.intake.catalog_batch_writer import CatalogBatchWriter
from whyray.intake.catalog_turn import shared_turn_file
from whyray.intake.commitment import ReportTo
from whyray.intake.door import Caps, Door
from whyray.intake.open_associations import OpenAssociations
from whyray.intake.receiver import InstanceReceiver
from whyray.intake.receiving_processes import ReceivingProcesses, StartProcess
from whyray.intake.server import IntakeServer, OpenConnection
from whyray.intake.stow import StoreRequest
from whyray.storage import Storage

if TYPE_CHECKING:
    from whyray.base.http_server import HttpServer
    from whyray.intake.dicomweb import MoreRoutes

_log = logging.getLogger("whyray.intake")
_HTTP_GRACE = 5.0
_PROCESS_GRACE = 5.0


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
        start_process: StartProcess | None,
        turn: FileIO | None,
    ) -> None:
        self._listener = listener
        self._receiver = receiver
        resolve = HostNames()
        caps = Caps(self._tell_of_limit)
        self._door = Door(lambda: self._listener, resolve, caps)
        self._open = OpenAssociations(lambda: self._listener, caps)
        self._associations = Associations(listener, receiver, storage, report_to, handlers, self._open, resolve)
        self._processes: ReceivingProcesses | None = None
        self._stopped = False
        self._servers: dict[str, IntakeServer] = {}
        """By what is spoken there: 'plain' or 'TLS'."""
        self._at: dict[str, Place] = {}
        """Where each of them was last told to listen; one that is missing in `_servers` could not be had there again.

        Not what the configuration in force says: that may leave one out which is kept until the next start.
        """
        self._dicomweb: HttpServer | None = None
        if start_process is not None and turn is not None:
            number = listener.receiving_processes
            self._processes = ReceivingProcesses(number, start_process, receiver, self._open, turn)
        self._tls = None if listener.tls is None else listener.tls.context()
        try:
            for spoken, place in _places(listener).items():
                self._servers[spoken], self._at[spoken] = self._serve(spoken, place), place
            if listener.dicomweb is not None:
                from whyray.intake.dicomweb import start_dicomweb  # an HTTP server: 10 MB where nobody wants one

                begin = self._associations.begin
                self._dicomweb = start_dicomweb(lambda: self._listener, receiver, begin, web_routes)
        except BaseException:
            self._shut()
            raise
        if self._processes is not None:
            self._processes.start()

    @property
    def dicomweb_port(self) -> int | None:
        """The TCP port of STOW-RS; None where it is off."""
        return self._dicomweb.port if self._dicomweb is not None else None

    @property
    def port(self) -> int | None:
        """The plain TCP port: the configured one, or the one found for port 0; None where TLS alone is wanted."""
        return self._port("plain")

    @property
    def tls_port(self) -> int | None:
        """The TCP port of DICOM over TLS; None where it is off."""
        return self._port("TLS")

    def _port(self, spoken: str) -> int | None:
        return int(self._servers[spoken].server_address[1]) if spoken in self._servers else None

    @property
    def associations(self) -> int:
        """How many associations are open."""
        return len(self._open)

    def fetched(self, sender: str, study_uid: str) -> StoreRequest:
        """Where instances of a study go that WhyRay itself has asked `sender` for; no route is asked about them."""
        unrouted = replace(self._receiver, routed=False)
        return StoreRequest(unrouted, self._associations.begin, sender, study_uid, asked=True)

    def update(self, listener: Listener) -> None:
        """Obey a new configuration; associations that are open go on.

        Whether there are plain DICOM, TLS and STOW-RS stays, and so do address and port of STOW-RS.

        Raises
        ------
        ConfigError
            If the new address or port can't be listened on, or a certificate can't be used; then all stays as it was.
            Where another program has taken an old port meanwhile, it says so, and the next call tries again.
        """
        tls = None if listener.tls is None or "TLS" not in self._at else listener.tls.context()
        self._move(_places(listener))
        self._tls, self._listener = tls or self._tls, listener
        self._associations.update(listener)
        if self._processes is not None:
            self._processes.reload()

    def _move(self, new: Mapping[str, Place]) -> None:
        """Listen at other places: at all of them, or with ConfigError at those of before."""
        moving = [
            spoken
            for spoken, place in self._at.items()
            if spoken in new and (new[spoken] != place or spoken not in self._servers)
        ]
        had = {spoken: self._place(spoken) for spoken in moving if spoken in self._servers}
        ours = {place.port for place in had.values()}
        begun: dict[str, IntakeServer] = {}
        left = False
        try:
            # a port that one of these servers has is free when they have left it, all others have to be had before
            for spoken in sorted(moving, key=lambda spoken: new[spoken].port in ours):
                if new[spoken].port in ours and not left:
                    _refuse_elsewhere(new[spoken])
                    left = True
                    for protocol in had:
                        self._servers.pop(protocol).shutdown()
                begun[spoken] = self._serve(spoken, new[spoken])
        except ConfigError as error:
            for server in begun.values():
                server.shutdown()
            self._go_back(had, error)
            raise
        if not left:
            for protocol in had:
                self._servers[protocol].shutdown()
        self._servers |= begun
        self._at |= {spoken: new[spoken] for spoken in moving}

    def _go_back(self, had: Mapping[str, Place], why: ConfigError) -> None:
        """Listen again where nobody does; `why` says, too, where that fails."""
        for spoken in [spoken for spoken in self._at if spoken not in self._servers]:
            try:
                self._servers[spoken] = self._serve(spoken, had.get(spoken, self._at[spoken]))
            except ConfigError as error:
                words = f"nothing listens for {spoken} DICOM, since WhyRay {error.message}"
                why.message += f"; meanwhile {words}"
                if spoken in had:  # else it has been told
                    _log.error("%s", words)

    def _place(self, spoken: str) -> Place:
        """Where a server listens, with the port that was found where any was configured."""
        return Place(self._at[spoken].address, int(self._servers[spoken].server_address[1]))

    def stop(self, *, grace: float = 5.0) -> None:
        """Let nobody new in, give open associations `grace` seconds to end, abort the rest; harmless when repeated."""
        if self._stopped:
            return
        self._stopped = True
        self._shut()
        deadline = time.monotonic() + grace
        if self._processes is not None:
            self._processes.ask_to_stop(grace)
        while self.associations and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._dicomweb is not None:
            self._dicomweb.stop(within=grace + _HTTP_GRACE)
        if self._processes is not None:
            self._processes.stop(within=max(0.0, deadline - time.monotonic()) + _PROCESS_GRACE)
        self._associations.close()

    def _tell_of_limit(self, words: str) -> None:
        """On a thread of its own: who waits to be let in, or turned away, must not wait for the catalog."""
        note: tuple[events.Severity, events.EventKind, str] = "warning", "intake.limit", words
        threading.Thread(target=self._receiver.note, args=note, name="whyray-limit", daemon=True).start()

    def _shut(self) -> None:
        for server in self._servers.values():
            server.stopping = True
            server.shutdown()

    def _serve(self, spoken: str, place: Place) -> IntakeServer:
        hand_over = None if self._processes is None else self._hand_over
        tls = self._context if spoken == "TLS" else None
        server = self._associations.server(place.address, place.port, self._door, tls, hand_over=hand_over)
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.5}, name="whyray-listener", daemon=True
        ).start()
        return server

    def _hand_over(self, connection: socket.socket, address: Any, by_tls: bool) -> OpenConnection | None:
        """See `server.HandOver`; the connection in question counts as one of this process still."""
        assert self._processes is not None
        served_here = sum(server.served_here for server in list(self._servers.values())) - 1
        return self._processes.hand_over(connection, address, by_tls, served_here)

    def _context(self) -> ssl.SSLContext:
        """That of the configuration in force."""
        assert self._tls is not None
        return self._tls()


class Place(NamedTuple):
    """Where a server listens."""

    address: str
    port: int


def _refuse_elsewhere(place: Place) -> None:
    """Refuse an address that is not this machine's before anybody leaves its port for it; this is tried repeatedly.

    Raises
    ------
    ConfigError
        If it is not.
    """
    try:
        resolved = socket.getaddrinfo(place.address, 0, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(
            resolved, key=lambda entry: entry[0] != socket.AF_INET
        )  # IPv4 first, as pynetdicom
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind(address)
    except OSError as error:
        raise not_listening(place.address, place.port, error) from error


def _places(listener: Listener) -> dict[str, Place]:
    """Where what is spoken, as configured."""
    tls = listener.tls
    places: dict[str, Place] = {}
    if tls is None or not tls.only:
        places["plain"] = Place(listener.address, listener.port)
    if tls is not None:
        places["TLS"] = Place(listener.address, tls.port)
    return places


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
    start_process: StartProcess | None = None,
) -> StorageScp:
    """Start to listen.

    Parameters
    ----------
    is_own
        Whether WhyRay made this object itself, from a header that has the UIDs, Manufacturer, Manufacturer's Model
        Name, Device UID and Contributing Equipment Sequence, where the object has them. The catalog is asked besides.
    report_to
        Where a peer that asks for storage commitment listens for the report; see `ReportTo`. Peers that it does not
        know are told on the association on which they asked, if they keep it open.
    handlers
        Further pynetdicom event handlers: `whyray.delivery.commitment_handlers` takes in peers' own reports.
    web_routes
        What else the DICOMweb listener serves; see `MoreRoutes`.
    on_release
        Called when an association that brought instances has ended in good order, and the catalog knows of it.

    start_process
        Starts one of `listener.receiving_processes`, which calls `serve_connections_of`; None where all is served here.

    Raises
    ------
    ConfigError
        If the address or port can't be listened on.
    """
    turn = shared_turn_file() if start_process is not None and listener.receiving_processes else None
    receiver = InstanceReceiver(storage, catalog, CatalogBatchWriter(catalog, turn), is_own, on_release=on_release)
    return StorageScp(listener, receiver, storage, report_to, handlers, web_routes, start_process, turn)
