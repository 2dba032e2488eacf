"""Delivery: us → PACS. C-STORE and STOW-RS with the peer's own statuses, retries, storage commitment, announcements.

`DeliveryService(catalog, storage, destinations).run(stop)` is the role; `send_files` and `echo` need no catalog.
"""

from whyray.delivery.association import Caller, association
from whyray.delivery.commitment import (
    commitment_context,
    commitment_handlers,
    enter_report,
    on_commitment_report,
    request_commitment,
)
from whyray.delivery.connecting import unanswered
from whyray.delivery.cstore import store
from whyray.delivery.delivery_worker import Pace
from whyray.delivery.echo import Echo, echo
from whyray.delivery.lease import LeaseKeeper
from whyray.delivery.outgoing import Outcome, Outgoing, read_outgoing
from whyray.delivery.send import find_files, parse_peer, send_files, summary
from whyray.delivery.service import DeliveryService
from whyray.delivery.statuses import STATUSES, Meaning, Verdict, describe, meaning
from whyray.delivery.stow import stow
from whyray.delivery.syntaxes import Compression
from whyray.delivery.web import asked_wait, error_of_response, web_client, words_of

__all__ = [
    "STATUSES",
    "Caller",
    "Compression",
    "DeliveryService",
    "Echo",
    "LeaseKeeper",
    "Meaning",
    "Outcome",
    "Outgoing",
    "Pace",
    "Verdict",
    "asked_wait",
    "association",
    "commitment_context",
    "commitment_handlers",
    "describe",
    "echo",
    "enter_report",
    "error_of_response",
    "find_files",
    "meaning",
    "on_commitment_report",
    "parse_peer",
    "read_outgoing",
    "request_commitment",
    "send_files",
    "store",
    "stow",
    "summary",
    "unanswered",
    "web_client",
    "words_of",
]
