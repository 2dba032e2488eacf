"""What an association of the storage SCP is served by, whichever process it is in."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation
from pynetdicom.service_class import ServiceClass
from pynetdicom.sop_class import Verification, uid_to_service_class

from whyray.base.errors import ConfigError
from whyray.base.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from whyray.config import Listener
from whyray.intake.admission import STORAGE_SERVICE, HostNames, Rejection, rejection, supported
from whyray.intake.commitment import CommitmentProvider, ReportTo
from whyray.intake.door import Door
from whyray.intake.incoming_instance import IncomingInstance
from whyray.intake.open_associations import AssociationCount
from whyray.intake.receiver import InstanceReceiver, on_closed, on_released, store
from whyray.intake.server import HandOver, IntakeServer
from whyray.storage import Storage

_NO_LIMIT = 1_000_000


def not_listening(address: str, port: int, error: OSError) -> ConfigError:
    """That an address or port can't be listened on."""
    return ConfigError(
        f"can't listen on {address} port {port}: {error.strerror}",
        advice="Another program may have this port; name a free one in listener.port.",
    )


class Associations:
    """Makes servers of associations that all take instances in the same way, by the configuration in force.

    Parameters
    ----------
    count
        Where each association is counted, and told where it is one too many.
    resolve
        Looks names of peers up.
    """

    def __init__(
        self,
        listener: Listener,
        receiver: InstanceReceiver,
        storage: Storage,
        report_to: ReportTo,
        handlers: Sequence[tuple[Any, ...]],
        count: AssociationCount,
        resolve: HostNames,
    ) -> None:
        self.listener = listener
        self.receiver = receiver
        self._storage, self._handlers, self._count, self._resolve = storage, handlers, count, resolve
        self._commitment = CommitmentProvider(receiver.catalog, report_to, lambda: self.listener.ae_title)
        self._ae = AE(ae_title=listener.ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.maximum_associations = _NO_LIMIT  # counted in _on_requested, where probes don't count
        self._ae.add_supported_context(Verification)
        self.update(listener)

    def update(self, listener: Listener) -> None:
        """Obey a new configuration; associations that are open go on."""
        self.listener = listener
        limits = listener.limits
        self._ae.maximum_pdu_size = limits.max_pdu
        self._ae.acse_timeout = limits.acse_timeout.total_seconds()
        self._ae.dimse_timeout = limits.dimse_timeout.total_seconds()
        self._ae.network_timeout = limits.network_timeout.total_seconds()

    def server(
        self,
        address: str,
        port: int,
        door: Door,
        tls: Callable[[], ssl.SSLContext] | None = None,
        *,
        kind: type[IntakeServer] = IntakeServer,
        hand_over: HandOver | None = None,
    ) -> IntakeServer:
        """A server of a class of one's own, which listens if that class does.

        Raises
        ------
        ConfigError
            If the address or port can't be listened on.
        """
        handlers = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_SOP_COMMON, _on_sop_common),
            (evt.EVT_RELEASED, on_released, [self.receiver]),
            (evt.EVT_CONN_CLOSE, on_closed, [self.receiver]),
            (evt.EVT_N_ACTION, self._commitment.on_action),
            *self._handlers,
        ]
        try:
            server: IntakeServer = self._ae.make_server(
                (address, port),
                evt_handlers=handlers,
                server_class=kind,
                begin=self.begin,
                store=partial(store, receiver=self.receiver),
                ended=self.receiver.ended,
                rejected=self.receiver.rejected,
                stall=lambda: self.listener.limits.dimse_timeout.total_seconds(),
                door=door,
                turned_away=self.receiver.turned_away,
                over=self._count.end,
                tls=tls,
                hand_over=hand_over,
            )
        except OSError as error:
            raise not_listening(address, port, error) from error
        self._ae._servers.append(server)
        return server

    def begin(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, calling_ae: str
    ) -> IncomingInstance:
        """Where a data set goes; see `Begin`."""
        limits = self.listener.limits
        return IncomingInstance(
            self._storage,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            calling_ae=calling_ae,
            largest=limits.max_instance_size,
            min_free=limits.min_free_disk,
        )

    def close(self) -> None:
        """Abort what is open."""
        self._commitment.close()
        self._ae.shutdown()

    def _on_requested(self, event: Any) -> None:
        association, request = event.assoc, event.assoc.requestor.primitive
        calling = str(request.calling_ae_title).strip()
        address = str(association.requestor.address_info.address)
        refused = rejection(
            self.listener,
            called=str(request.called_ae_title).strip(),
            calling=calling,
            address=address,
            by_tls=isinstance(association.dul.socket.socket, ssl.SSLSocket),
            in_use=0,
            resolve=self._resolve,
        ) or self._count.begin(
            association.upper_layer.connection, calling, address, named=calling in self.listener.peers
        )
        if refused is not None:
            self._reject(association, refused, calling, address)
            return
        association.acceptor.supported_contexts = supported(request.presentation_context_definition_list)

    def _reject(self, association: Any, refused: Rejection, calling: str, address: str) -> None:
        association.upper_layer.settled()
        association.acse.send_reject(refused.result, refused.source, refused.reason)
        evt.trigger(association, evt.EVT_REJECTED, {})
        self.receiver.rejected(calling, address, refused.words)
        association.kill()


def _on_sop_common(event: Any) -> dict[Any, SOPClassCommonExtendedNegotiation]:
    """Say of storage SOP classes that pynetdicom does not know that they are storage: it would abort at the C-STORE."""
    services = {}
    for context in event.assoc.acceptor.supported_contexts:
        uid = context.abstract_syntax
        if uid_to_service_class(uid) is ServiceClass:
            services[uid] = item = SOPClassCommonExtendedNegotiation()
            item.sop_class_uid, item.service_class_uid = uid, STORAGE_SERVICE
    return services
