"""Names in one place of the configuration that must exist in another, checked on what was written.

On what was written, and not on the validated values, so that these faults are told together with all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from whyray.config.problems import Place, did_you_mean


@dataclass(frozen=True)
class ReferenceFault:
    """A name that leads nowhere, or leads to two things."""

    place: Place
    message: str
    found: object
    suggestion: str | None = None


def reference_faults(data: object) -> list[ReferenceFault]:
    """Duplicate route names and unknown destinations; whatever has another shape than it should is passed over."""
    if not isinstance(data, Mapping):
        return []
    written = data.get("destinations")
    destinations = written if isinstance(written, Mapping) else {}
    routes = [(index, each) for index, each in enumerate(_listed(data.get("routes"))) if isinstance(each, Mapping)]
    first: dict[str, int] = {}
    faults = []
    for index, route in routes:
        name = route.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            message = f"the route at position {first[name] + 1} has the name '{name}' too"
            faults.append(ReferenceFault(("routes", index, "name"), message, name, "give each route its own name"))
        faults += _of_route(route, ("routes", index), destinations)
    return faults


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
