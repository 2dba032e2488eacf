"""Telling an AE what has arrived at a destination: Instance Availability Notification as its user (PS3.4 annex R).

At least once: a peer whose answer is lost is told again, under the same SOP Instance UID, and 'duplicate' is as good an
answer as success.
"""

from __future__ import annotations

import logging
import random

from pynetdicom.association import Association
from pynetdicom.sop_class import InstanceAvailabilityNotification

from whyray.base.errors import PeerBusy, PeerRefused, PeerUnreachable, WhyRayError
from whyray.base.failures import logged, typed_error
from whyray.base.retry import retry_after
from whyray.catalog import Announcement, Catalog, ResultRow, announcements, attempts
from whyray.config import Destination, DicomDestination, Informed
from whyray.delivery.announcement import announcement, announcement_context
from whyray.delivery.association import Caller, address, association
from whyray.delivery.destination_worker import DestinationWorker
from whyray.delivery.lease import LeaseKeeper
from whyray.delivery.statuses import Verdict, describe, meaning

_log = logging.getLogger("whyray.delivery")

_ADVICE = "Ask the administrator of the AE that is told to accept it, or take announce_to out; then retry."


class Announcer(DestinationWorker):
    """Tells one AE of one destination's arrivals, in a thread of its own: an AE that is dead holds up no delivery.

    Parameters
    ----------
    renew
        Seconds between renewals of the leases on what is under way.
    """

    def __init__(
        self,
        catalog: Catalog,
        name: str,
        destination: Destination,
        caller: Caller,
        *,
        look: float,
        renew: float,
        rng: random.Random,
    ) -> None:
        super().__init__(name, destination, caller, work="announcement", look=look)
        assert destination.announce_to is not None
        self._catalog, self._informed = catalog, destination.announce_to
        self._renew, self._rng = renew, rng

    @property
    def _committed(self) -> bool:
        return isinstance(self.destination, DicomDestination) and self.destination.storage_commitment

    def turn(self) -> bool:
        """Tell of all that is due, over one association; each announcement gets an outcome or is handed back."""
        with self._catalog.read() as session:
            due = announcements.due(session, self.name, self._catalog.clock(), committed=self._committed)
        if not due:
            return False
        with self._catalog.begin() as session:
            claimed = announcements.claim(
                session, self.name, self.owner, self._catalog.clock(), committed=self._committed
            )
            told = [(announcement, announcements.results_of(session, announcement.id)) for announcement in claimed]
        if not claimed:
            return False
        rows = {announcement.id: announcement for announcement in claimed}
        seed = self._rng.random()  # one draw for all, so that what fails together comes back together
        with LeaseKeeper(self._catalog, rows, self.owner, every=self._renew, renew=announcements.renew) as keeper:
            try:
                self._tell(told, keeper)
            except WhyRayError as error:
                for announcement_id in keeper.remaining():
                    self._stop(rows[announcement_id], error, keeper, seed)
            except Exception as error:  # every announcement gets an outcome, whatever a library raised
                logged(_log, error, f"announcements to {address(self._informed)} failed")
                failure = typed_error(error, f"telling {address(self._informed)}")
                for announcement_id in keeper.remaining():
                    self._stop(rows[announcement_id], failure, keeper, seed)
            finally:
                left = keeper.remaining()
                if left:
                    with self._catalog.begin() as session:
                        announcements.hand_back(session, left, self.owner)
        return True

    def let_go(self) -> None:
        """After announcements whose outcomes the catalog did not take."""
        with self._catalog.begin() as session:
            attempts.let_go(session, Announcement, self.owner, self.destination.retry.wait, self._catalog.clock())

    def _tell(self, told: list[tuple[Announcement, list[ResultRow]]], keeper: LeaseKeeper) -> None:
        with association(self._informed, self.caller, [announcement_context()]) as link:
            for row, results in told:
                if self.stop.is_set():
                    return
                if not keeper.holds(row.id):
                    continue
                error = notify(link, row.uid, results, self.destination, self._informed)
                if error is not None:
                    self._stop(row, error, keeper, self._rng.random())
                    if isinstance(error, PeerUnreachable):
                        # the others have not been tried: they go over the next association
                        return
                    continue
                with self._catalog.begin() as session:
                    announcements.sent(session, row.id, self.owner, self._catalog.clock())
                keeper.close(row.id)

    def _stop(self, row: Announcement, error: WhyRayError, keeper: LeaseKeeper, seed: float) -> None:
        wait = retry_after(error, row.attempt, self.destination.retry, random.Random(seed), outages=row.outages)
        with self._catalog.begin() as session:
            announcements.stop(session, row.id, self.owner, error, self._catalog.clock(), retry_after=wait)
        keeper.close(row.id)


def notify(
    link: Association, uid: str, results: list[ResultRow], destination: Destination, informed: Informed
) -> WhyRayError | None:
    """Send one N-CREATE; None if the peer has taken it, now or before.

    The peer's Error Comment is left out of the error: a RIS knows whose study it is, and may say so.
    """
    answer = None
    if link.is_established:
        content = announcement(results, destination, informed)
        answer, _ = link.send_n_create(content, InstanceAvailabilityNotification, uid)
    if answer is None or "Status" not in answer:
        return PeerUnreachable(f"{address(informed)} aborted, or did not answer N-CREATE in time")
    verdict = meaning(int(answer.Status)).verdict
    if verdict in (Verdict.STORED, Verdict.WARNING):
        return None
    message = f"{address(informed)} answered {describe(int(answer.Status))} to N-CREATE"
    return PeerBusy(message) if verdict is Verdict.BUSY else PeerRefused(message, advice=_ADVICE)
