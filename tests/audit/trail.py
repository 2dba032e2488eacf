"""The audit trail as tests look at it: what was done, in short."""

from __future__ import annotations

from audit.receiver import checked
from whyray.audit import audit_message
from whyray.catalog import AuditEvent, Catalog, audit


def trail(catalog: Catalog) -> list[AuditEvent]:
    """All records in order; each has to be whole, and valid by the standard's schema."""
    with catalog.read() as session:
        assert audit.verify(session).broken_at is None
        events = [audit.event_of(row, catalog.keys) for row in audit.after(session, 0, 10_000)]
    for event in events:
        checked(audit_message(event, source="WHYRAY"))
    return events


def in_short(events: list[AuditEvent]) -> list[tuple[str, int, str]]:
    """(kind, outcome, who asked for it) of each."""
    return [
        (
            event.kind,
            event.outcome,
            next((participant.name for participant in event.participants if participant.requestor), ""),
        )
        for event in events
    ]
