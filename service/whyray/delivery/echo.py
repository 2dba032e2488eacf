"""Whether a destination answers: C-ECHO, or for DICOMweb a search that returns one study at most."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pynetdicom.sop_class import Verification

from whyray.base.errors import PeerRefused, PeerUnreachable
from whyray.config import Destination, DicomDestination
from whyray.delivery.association import Caller, address, association, context
from whyray.delivery.connecting import unanswered
from whyray.delivery.statuses import describe
from whyray.delivery.syntaxes import UNCOMPRESSED
from whyray.delivery.web import error_of_response, web_client


@dataclass(frozen=True)
class Echo:
    """A destination's sign of life: its DICOM or HTTP status, and that in words."""

    status: int
    words: str


def echo(destination: Destination, caller: Caller) -> Echo:
    """Ask a destination whether it is there and would talk to WhyRay.

    Raises
    ------
    PeerUnreachable, PeerBusy, PeerRefused
        As a delivery to it would fail.
    """
    if isinstance(destination, DicomDestination):
        with association(destination, caller, [context(str(Verification), *UNCOMPRESSED)]) as link:
            answer = link.send_c_echo()
        if "Status" not in answer:
            raise PeerUnreachable(f"{address(destination)} accepted the association and did not answer C-ECHO")
        if answer.Status != 0:
            raise PeerRefused(f"{address(destination)} answered C-ECHO with {describe(int(answer.Status))}")
        return Echo(0, describe(0))
    import httpx

    with web_client(destination) as client:
        begun = time.monotonic()
        try:
            # application/dicom+json is what every QIDO-RS service has to offer (PS3.18 section 10.6.4)
            response = client.get("/studies", params={"limit": 1}, headers={"Accept": "application/dicom+json"})
        except httpx.HTTPError as error:
            raise unanswered(destination.url, error, time.monotonic() - begun) from error
    if not response.is_success:
        raise error_of_response(response.status_code, destination.url)
    return Echo(response.status_code, f"HTTP {response.status_code}")
