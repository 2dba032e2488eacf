"""Names in one place of the configuration that must exist in another, checked on what was written.

On what was written, and not on the validated values, so that these faults are told together with all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from whyray.config.own_listener import own_addresses
from whyray.config.own_ports import shared_within_a_role
from whyray.config.problems import Place, did_you_mean


@dataclass(frozen=True)
class ReferenceFault:
    """A name that leads nowhere, or leads to two things."""

    place: Place
    message: str
    value: object
    suggestion: str | None = None


def reference_faults(data: object) -> list[ReferenceFault]:
    """Duplicate route names, unknown destinations, those that are WhyRay itself, and ports that two services have.

    Whatever has another shape than it should is passed over.
    """
    if not isinstance(data, Mapping):
        return []
    written = data.get("destinations")
    destinations = written if isinstance(written, Mapping) else {}
    routes = [(index, route) for index, route in enumerate(_listed(data.get("routes"))) if isinstance(route, Mapping)]
    first: dict[str, int] = {}
    faults = []
    for index, route in routes:
        name = route.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            message = f"the route at position {first[name] + 1} has the name '{name}' too"
            faults.append(ReferenceFault(("routes", index, "name"), message, name, "give each route its own name"))
        faults += _of_route(route, ("routes", index), destinations)
    faults += _addresses_of_this_listener(data, destinations)
    for shared in shared_within_a_role(data):
        faults.append(ReferenceFault(shared.place, shared.message, shared.port, shared.suggestion))
    for place, orders in _orders(data):
        faults += _of_orders(orders, place, {str(route.get("name")): route for _, route in routes}, destinations)
    return faults


def _addresses_of_this_listener(
    data: Mapping[str, object], destinations: Mapping[str, object]
) -> Iterator[ReferenceFault]:
    """Destinations whose results would come back here, and be counted as sent; and announcements to nobody else."""
    for own in own_addresses(data, destinations):
        what = "STOW-RS" if own.is_web else "listener"
        of_results = "announce_to" not in own.place
        yield ReferenceFault(
            own.place,
            f"port '{own.port}' of {own.host} is WhyRay's own {what}: "
            + ("results would come back, and be counted as sent" if of_results else "nobody else would be told"),
            own.value,
            "give the URL of the archive"
            if own.is_web
            else f"give host, port and AE title of the {'PACS' if of_results else 'AE that is to be told'}",
        )


def _orders(data: Mapping[str, object]) -> Iterator[tuple[Place, Mapping[str, object]]]:
    """All sections that say which workitems are taken."""
    worklists = data.get("worklists")
    for name, worklist in (worklists if isinstance(worklists, Mapping) else {}).items():
        if isinstance(worklist, Mapping):
            yield ("worklists", str(name)), worklist
    place: tuple[str, ...] = ("listener", "dicomweb", "worklist")
    own: object = data
    for step in place:
        own = own.get(step) if isinstance(own, Mapping) else None
    if isinstance(own, Mapping):
        yield place, own


def _of_orders(
    orders: Mapping[str, object],
    place: Place,
    routes: Mapping[str, Mapping[str, object]],
    destinations: Mapping[str, object],
) -> Iterator[ReferenceFault]:
    for position, task in enumerate(_listed(orders.get("take"))):
        name = task.get("route") if isinstance(task, Mapping) else None
        if not isinstance(name, str):
            continue
        at: Place = (*place, "take", position, "route")
        if name not in routes:
            suggestion = did_you_mean(name, sorted(routes), what="routes are") or "write it under routes"
            yield ReferenceFault(at, f"no route has the name '{name}'", name, suggestion)
        elif not routes[name].get("send") or routes[name].get("dry_run") is True:
            message = f"the route '{name}' sends nothing, so who ordered the work would get nothing"
            yield ReferenceFault(at, message, name, "give the route a `send`, without dry_run")
    images = orders.get("images")
    target = destinations.get(images) if isinstance(images, str) else None
    if isinstance(images, str) and target is None:
        names = sorted(map(str, destinations))
        yield ReferenceFault(
            (*place, "images"), f"no destination has the name '{images}'", images, _suggest(images, names)
        )
    elif isinstance(target, Mapping) and "url" not in target:
        yield ReferenceFault((*place, "images"), "images are fetched by WADO-RS", images, "name a destination with url")


def _of_route(
    route: Mapping[str, object], place: Place, destinations: Mapping[str, object]
) -> Iterator[ReferenceFault]:
    names = sorted(map(str, destinations))
    send = route.get("send")
    to = send.get("to") if isinstance(send, Mapping) else None
    for position, name in enumerate([to] if isinstance(to, str) else _listed(to)):
        if isinstance(name, str) and name not in destinations:
            at: Place = (*place, "send", "to", position)
            yield ReferenceFault(at, f"no destination has the name '{name}'", name, _suggest(name, names))
    complete = route.get("complete")
    expect = complete.get("expect") if isinstance(complete, Mapping) else None
    source = expect.get("from") if isinstance(expect, Mapping) else None
    if not isinstance(source, str):
        return
    at = (*place, "complete", "expect", "from")
    target = destinations.get(source)
    if source not in destinations:
        yield ReferenceFault(at, f"no destination has the name '{source}'", source, _suggest(source, names))
    elif isinstance(target, Mapping) and "url" in target:
        yield ReferenceFault(
            at, "a DICOMweb destination can't be asked by C-FIND", source, "name one with host and port"
        )


def _suggest(name: str, names: list[str]) -> str | None:
    return did_you_mean(name, names, what="destinations are") or (None if names else "write it under destinations")


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []
