"""Compression of results on their way out: what delivery asks for, done by who knows pixels."""

from __future__ import annotations


class PageCompression:
    """Compresses results for destinations that want it.

    The room of results is opened only when a destination names a compressed transfer syntax.
    """

    def syntaxes(self, sop_class_uid: str, /) -> frozenset[str]:
        """Transfer syntax UIDs that results of this SOP Class can be compressed to."""
        from whyray.results import COMPRESSIONS, compressions_of

        return frozenset(COMPRESSIONS[name] for name in compressions_of(sop_class_uid))

    def compressed(self, file: bytes, transfer_syntax_uid: str, /) -> bytes:
        """A result's file with its pixels compressed, without loss."""
        from whyray.results import COMPRESSIONS, compressed

        (name,) = [name for name, uid in COMPRESSIONS.items() if uid == transfer_syntax_uid]
        return compressed(file, name)
