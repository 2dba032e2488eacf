"""Small kits with pictures that tell themselves apart, for tests of the form and of reading."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from PIL import Image

from whyray.catalog import Catalog
from whyray.reader_study import Kit, Material, Order, make_kit
from whyray.reader_study.register import open_study, register
from whyray.storage import Storage

AT = datetime(2026, 3, 1, tzinfo=UTC)
ORDER = Order(name="spots", title="Spots on films", target="Spot", readers=2, seed=1)


def picture(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (200, 120), (shade % 256, 60, 200)).save(out, "PNG")
    return out.getvalue()


def small_kit(cases: int = 4, **order: object) -> Kit:
    material = [
        Material(
            keys=(f"2.25.{n}",),
            image=picture(10 + n),
            pages=(picture(100 + n),),
            said=f"Spot: {'present' if n % 2 else 'not present'} (probability 0.{n}0)",
            model_says=n % 2 == 1,
            probability=n / 10,
            package="planted@1.0.0",
            methods=("grad-cam",),
            grades=("green",),
        )
        for n in range(1, cases + 1)
    ]
    truths = {case.source: number % 3 != 0 for number, case in enumerate(material)}
    return make_kit(material, truths, replace(ORDER, **order), at=AT)  # type: ignore[arg-type]


def put_in(
    catalog: Catalog, storage: Storage, kit: Kit, users: Mapping[str, str] | Sequence[str], *, opened: bool = True
) -> None:
    """Register a kit, with these users in its places, and open it."""
    named = users if isinstance(users, Mapping) else {f"R{n}": user for n, user in enumerate(users, start=1)}
    keys = {name: storage.put_bytes(png, suffix=".png") for name, png in kit.pictures.items()}
    with catalog.begin() as session:
        register(session, kit.manifest, keys, named, catalog.clock(), actor="test")
        if opened:
            open_study(session, kit.manifest.name, catalog.clock(), actor="test")
