"""Sends the audit trail to its receiver, record by record in the order of the chain, and never stands in anybody's way.

The trail in the catalog is the queue. What was sent is told by one number, moved after the receiver's machine has
acknowledged: a break in between sends some again, and leaves none out.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import threading
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from whyray.audit.message import audit_message
from whyray.audit.syslog import SyslogLink, syslog_message
from whyray.base.errors import WhyRayError
from whyray.base.failures import logged
from whyray.base.outage_log import OutageLog
from whyray.base.sources import random_id
from whyray.catalog import AuditRecord, Catalog, audit, events
from whyray.config import Audit, Config, Syslog

_LEASE = timedelta(minutes=1)
_AT_ONCE = 100
"""Records of one batch; what of it arrived is not known when the connection breaks, so that all are sent again."""
_log = logging.getLogger("whyray.audit")


class AuditSender:
    """One thread; `config` gives the configuration in force.

    Parameters
    ----------
    look
        Seconds between looks at the trail.
    longest_wait
        Seconds between attempts while the receiver is down, at most.
    """

    def __init__(
        self, catalog: Catalog, config: Callable[[], Config], *, look: float = 1.0, longest_wait: float = 60.0
    ) -> None:
        self._catalog, self._config = catalog, config
        self._look, self._longest_wait, self._wait = look, longest_wait, look
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{random_id()[:8]}"
        self._reading, self._sending = OutageLog(_log, "reading the audit trail"), OutageLog(_log, "the audit receiver")
        self._link: tuple[Syslog, SyslogLink] | None = None

    def run(self, stop: threading.Event) -> None:
        """Send until told to stop."""
        try:
            while not stop.is_set():
                if not self.turn():
                    stop.wait(self._wait)
        finally:
            self._close()
            self._let_go()

    def turn(self) -> bool:
        """Send what is due; says whether there may be more at once."""
        settings = self._config().audit
        if settings.syslog is None:
            self._close()
            return False
        name = f"{settings.syslog.transport}://{settings.syslog.host}:{settings.syslog.port}"
        try:
            more = self._send(name, settings, settings.syslog)
            self._reading.well()
            return more
        except SQLAlchemyError as error:
            self._reading.failed(error)
        except Exception as error:  # the thread must go on, and somebody must hear that nothing is sent
            self._tell(name, self._sending.failed(error))
        self._wait = min(2 * self._wait, self._longest_wait)
        return False

    def _send(self, name: str, settings: Audit, receiver: Syslog) -> bool:
        with self._catalog.read() as session:  # most looks find nothing, and write nothing
            if not audit.after(session, audit.sent_through(session, name), 1):
                return False
        with self._catalog.begin() as session:
            row = audit.lease(session, name, self._owner, self._catalog.clock(), _LEASE)
            through = None if row is None else row.through
        if through is None:
            return False
        with self._catalog.read() as session:
            due = audit.after(session, through, _AT_ONCE)
        if not due:  # another sender was quicker
            return False
        source = settings.source or self._config().listener.ae_title
        self._link_to(receiver).send([self._message(record, source, settings.site) for record in due])
        with self._catalog.begin() as session:
            sent = audit.receiver(session, name)
            sent.through, sent.failing_since = due[-1].number, None
        self._sending.well()
        self._wait = self._look
        return len(due) == _AT_ONCE

    def _message(self, record: AuditRecord, source: str, site: str | None) -> bytes:
        event = audit.event_of(record, self._catalog.keys)
        content = audit_message(event, source=source, site=site)
        host, process = platform.node(), str(os.getpid())
        return syslog_message(content, at=event.at, host=host, process=process, number=record.number)

    def _link_to(self, receiver: Syslog) -> SyslogLink:
        if self._link is None or self._link[0] != receiver:
            self._close()
            self._link = (receiver, SyslogLink(receiver))
        return self._link[1]

    def _close(self) -> None:
        if self._link is not None:
            self._link[1].close()
            self._link = None

    def _let_go(self) -> None:
        """Leave the receiver to the next sender at once."""
        try:
            with self._catalog.begin() as session:
                audit.release(session, self._owner)
        except SQLAlchemyError as error:
            logged(_log, error, "another sender of the audit trail may have to wait a minute")

    def _tell(self, name: str, error: WhyRayError) -> None:
        """Enter the outage as an event, once."""
        try:
            with self._catalog.begin() as session:
                row = audit.receiver(session, name)
                if row.failing_since is None:
                    now = row.failing_since = self._catalog.clock()
                    words = f"{error.message}; audit messages wait in the catalog"
                    events.record(session, now, "warning", "audit.unsent", words)
        except SQLAlchemyError as failure:
            logged(_log, failure, "an outage of the audit receiver could not be entered")
