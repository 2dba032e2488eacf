"""Headers of received instances, kept as they came: routing asks these, and no file.

One for each series, of its first instance; a header is what precedes the pixel data, with the file's own preamble and
File Meta Information before it. It names the patient, so that nothing of it is ever shown or logged.
"""

from __future__ import annotations

import zlib

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from whyray.base.errors import SealBroken
from whyray.base.sealing import SealingKeys
from whyray.catalog.audit import SEALING
from whyray.catalog.tables import Instance, KeptHeader

LARGEST = 1 << 20
"""Bytes of a header that is kept; a larger one is read from its file."""
_ABOUT = "kept header"
_SEALED = b"WHYRAYH1"


def compressed(session: Session, header: bytes) -> KeptHeader:
    """A row that holds this header; sealed where the session's catalog has keys of encryption at rest."""
    content = zlib.compress(header)
    keys: SealingKeys | None = session.info.get(SEALING)
    return KeptHeader(content=content if keys is None else _SEALED + keys.seal_bytes(content, _ABOUT))


def kept(session: Session, key: str) -> bytes | None:
    """The header of the instance whose bytes storage has under `key`; None where none is kept."""
    content = session.scalar(select(KeptHeader.content).join(Instance).where(Instance.key == key))
    if content is not None and content.startswith(_SEALED):
        keys: SealingKeys | None = session.info.get(SEALING)
        try:
            content = None if keys is None else keys.open_bytes(content[len(_SEALED) :], _ABOUT)
        except SealBroken:  # a former key that is not named any more: the file is sealed with the current one
            return None
    return None if content is None else zlib.decompressobj().decompress(content, LARGEST)


def keep(session: Session, key: str, header: bytes) -> None:
    """Keep the header of an instance that came before headers were kept, if it is still here."""
    instance_id = session.scalar(select(Instance.id).where(Instance.key == key))
    if instance_id is None:
        return
    row = compressed(session, header)
    row.instance_id = instance_id
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process has kept it in the meantime, or the instance went
        return
