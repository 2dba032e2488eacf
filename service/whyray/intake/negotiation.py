"""Presentation contexts of an association (PS3.8 section 7.1.1.13): which are accepted, and the A-ASSOCIATE-AC PDU.

The answers are pynetdicom's, whose way to them validates each UID five times more: of the 128 contexts that many
senders propose that takes longer than a few instances.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from pynetdicom.acse import ACSE
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.presentation import PresentationContext

ACCEPTED, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 3, 4
"""Result/Reason of PS3.8 table 9-18."""
_CONTEXT, _TRANSFER_SYNTAX = 0x21, 0x40
_ITEM = struct.Struct(">BxHBxBxBxH")
"""A presentation context item up to the name in its transfer syntax sub-item (PS3.8 tables 9-18 and 9-19)."""
_LENGTH_OF_PDU, _LENGTH_OF_ITEM = struct.Struct(">I"), struct.Struct(">H")
_FIRST_ITEM = 74


class Negotiation(ACSE):  # type: ignore[misc]
    """pynetdicom's ACSE provider of an acceptor, which has most presentation contexts answered here."""

    def _negotiate_as_acceptor(self) -> None:
        request = self.requestor.primitive
        proposed: list[PresentationContext] = request.presentation_context_definition_list
        supported = {context.abstract_syntax: context for context in self.acceptor.supported_contexts}
        roles = {syntax for syntax, context in supported.items() if None not in (context.scu_role, context.scp_role)}
        self._answered = negotiated((one for one in proposed if one.abstract_syntax not in roles), supported.values())
        # of these alone pynetdicom has roles to negotiate (PS3.7 annex D.3.3.4)
        request.presentation_context_definition_list = [one for one in proposed if one.abstract_syntax in roles]
        try:
            super()._negotiate_as_acceptor()
        finally:
            request.presentation_context_definition_list = proposed

    def send_accept(self) -> None:
        """Accept the association, with the answers to all contexts."""
        for context in self._answered:
            if context.result == ACCEPTED:
                self.assoc._accepted_cx[context.context_id] = context
            else:
                self.assoc._rejected_cx.append(context)
        self.assoc._rejected_cx.sort(key=lambda context: context.context_id)
        super().send_accept()


def negotiated(
    proposed: Iterable[PresentationContext], supported: Iterable[PresentationContext]
) -> list[PresentationContext]:
    """What `pynetdicom.presentation.negotiate_as_acceptor` says where no roles are asked for or supported.

    Of the transfer syntaxes that a supported context lists, the first that is proposed is accepted.
    """
    known = {context.abstract_syntax: context.transfer_syntax for context in supported}
    answers = []
    for context in proposed:
        answer = PresentationContext()
        answer.context_id, answer._abstract_syntax = context.context_id, context.abstract_syntax
        answer._as_scu = answer._as_scp = False
        answer._transfer_syntax = context.transfer_syntax[:1]
        if (syntaxes := known.get(context.abstract_syntax)) is None:
            answer.result = ABSTRACT_SYNTAX_NOT_SUPPORTED
        else:
            answer.result = TRANSFER_SYNTAXES_NOT_SUPPORTED
            for syntax in syntaxes:
                if syntax in context.transfer_syntax:
                    answer._transfer_syntax, answer.result, answer._as_scp = [syntax], ACCEPTED, True
                    break
        answers.append(answer)
    return answers


def encoded_acceptance(primitive: Any) -> bytes:
    """The A-ASSOCIATE-AC PDU (PS3.8 section 9.3.3) of an A-ASSOCIATE primitive that accepts."""
    answers: Sequence[PresentationContext] = primitive.presentation_context_definition_results_list
    primitive.presentation_context_definition_results_list = []
    try:
        bare: bytes = A_ASSOCIATE_AC(primitive).encode()
    finally:
        primitive.presentation_context_definition_results_list = answers
    (length,) = _LENGTH_OF_ITEM.unpack_from(bare, _FIRST_ITEM + 2)
    after_application_context = _FIRST_ITEM + 4 + length
    pieces = [bare[6:after_application_context]]
    for answer in answers:
        name = answer.transfer_syntax[0].encode("ascii")
        pieces += (
            _ITEM.pack(_CONTEXT, 8 + len(name), answer.context_id, answer.result, _TRANSFER_SYNTAX, len(name)),
            name,
        )
    content = b"".join((*pieces, bare[after_application_context:]))
    return bare[:2] + _LENGTH_OF_PDU.pack(len(content)) + content
