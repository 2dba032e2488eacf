"""Senders that were turned away lately, each with the reason: at set-up the commonest fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.catalog.attention_item import Attention, number_of
from whyray.catalog.event_kinds import EventKind
from whyray.catalog.tables import Event

_KIND: EventKind = "intake.rejected"
_LATELY = timedelta(minutes=10)
"""A rejection is an event once a minute while its sender goes on; so long after the last one it counts as over."""
_REPEATED = re.compile(r"; \d+ more since the last event$")
_ADVICE = (
    ("it called", "Have the sender call by the AE title that this listener has, or change `listener.ae_title`."),
    ("AE title is empty", "Give the sender an AE title of its own, and write it under `listener.peers`."),
    (
        "protocol version",
        "It speaks no DICOM, as scanners of networks don't. Find out what it is.",
    ),
    ("listener.limits", "Let the sender keep fewer associations open, or raise the limit that is named."),
    ("by TLS", "Have the sender call by TLS, or take `tls: true` from its entry under `listener.peers`."),
    (
        "listener.peers",
        "If it is to send here, write its AE title and address under `listener.peers`; the file is read again at once. "
        "Else find out what calls from there.",
    ),
    (
        "taken out of the configuration",
        "Have the sender send by C-STORE or elsewhere, or put `listener.dicomweb` back.",
    ),
    (
        "without tokens",
        "If it is to send here, set `listener.dicomweb: {api_tokens: true}`, make a token by `whyray account token add "
        "NAME --scope stow`, and give it to the sender.",
    ),
    (
        "too many wrong tokens",
        "Correct the token that the sender at this address has. It is let in a minute after the last wrong one.",
    ),
    (
        "not the scope stow",
        "Give the sender a token that has it: `whyray account token add NAME --scope stow` makes one.",
    ),
    (
        "bearer token",
        "If it is to send here, give it a token that is in force: one of `listener.dicomweb.tokens`, or, with "
        "`api_tokens: true` there, one made by `whyray account token add NAME --scope stow` (`whyray account token "
        "list` shows their ends).",
    ),
)
"""By words of the reasons that intake gives (`whyray.intake.admission`, `dicomweb`, `server`, `upper_layer`)."""
_ADVICE_OTHERWISE = "Find out what calls from there, and why by its own log."
_MOST_READ = 500
_MOST_TOLD = 5


@dataclass(frozen=True)
class _TurnedAway:
    """One sender and one reason, of events as `whyray.intake.receiver` words them: 'WHO rejected: WHY'."""

    who: str
    why: str

    @classmethod
    def of(cls, message: str) -> _TurnedAway:
        who, _, why = message.partition(": ")
        return cls(who, _REPEATED.sub("", why))


def turned_away(session: Session, now: datetime) -> Iterator[Attention]:
    """Who was turned away within the last ten minutes, those who came last first."""
    lately = (
        select(Event.message, Event.at)
        .where(Event.kind == _KIND, Event.at >= now - _LATELY)
        .order_by(Event.at.desc())
        .limit(_MOST_READ)
    )
    since: dict[_TurnedAway, datetime] = {}
    for message, at in session.execute(lately):
        since[_TurnedAway.of(message)] = at
    senders = list(since)
    for sender in senders[:_MOST_TOLD]:
        yield Attention(
            severity="warning",
            kind=_KIND,
            title=f"{sender.who[:1].upper()}{sender.who[1:]} within the last 10 minutes",
            message=sender.why,
            advice=_advice(sender),
            since=since[sender],
        )
    if more := senders[_MOST_TOLD:]:
        yield Attention(
            severity="warning",
            kind=_KIND,
            title=f"{number_of(len(more), 'more sender was', 'more senders were')} turned away within the last 10 "
            "minutes",
            message="The events name each and the reason.",
            advice="Many at once are often a scan of the network; those that are to send here belong under "
            "`listener.peers`.",
            count=len(more),
            since=min(since[sender] for sender in more),
        )


def _advice(sender: _TurnedAway) -> str:
    return next((advice for words, advice in _ADVICE if words in sender.why), _ADVICE_OTHERWISE)
