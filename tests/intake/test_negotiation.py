"""What presentation contexts are answered with is what pynetdicom says, byte by byte."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor
from pynetdicom.sop_class import (
    CTImageStorage,
    HangingProtocolStorage,
    ModalityWorklistInformationFind,
    MRImageStorage,
    Verification,
)

from whyray.intake.admission import supported
from whyray.intake.negotiation import encoded_acceptance, negotiated

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    "1.2.840.10008.1.2.4.94",
    "1.2.3.4.5",
)
CLASSES = (
    CTImageStorage,
    MRImageStorage,
    Verification,
    HangingProtocolStorage,
    ModalityWorklistInformationFind,
    "1.2.3.4",
    "1.2.840.10008.5.1.4.1.1.999999",
)


@st.composite
def proposals(draw: st.DrawFn) -> list[PresentationContext]:
    """Contexts of a few classes, each number once, in any order."""
    numbers = draw(st.lists(st.integers(0, 127), unique=True, max_size=12))
    contexts = []
    for number in numbers:
        syntaxes = draw(st.lists(st.sampled_from(SYNTAXES), min_size=1, max_size=4, unique=True))
        context = build_context(draw(st.sampled_from(CLASSES)), syntaxes)
        context.context_id = 2 * number + 1
        contexts.append(context)
    return contexts


def answered(context: PresentationContext) -> tuple[int | None, str, list[str], int | None, bool, bool]:
    """What matters of an answer; of a rejected one pynetdicom says either that there is no role, or nothing."""
    roles = bool(context.as_scu), bool(context.as_scp)
    return context.context_id, str(context.abstract_syntax), context.transfer_syntax, context.result, *roles


def accepting(answers: list[PresentationContext]) -> A_ASSOCIATE:
    """The primitive that pynetdicom sends."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "PACS", "WHYRAY"
    primitive.result, primitive.result_source = 0, 1
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 131072, "2.25.1"
    primitive.user_information = [length, implementation]
    primitive.presentation_context_definition_results_list = answers
    return primitive


@given(proposals())
def test_contexts_are_answered_as_pynetdicom_answers_them(proposed: list[PresentationContext]) -> None:
    ours = negotiated(proposed, supported(proposed))
    theirs, roles = negotiate_as_acceptor(deepcopy(proposed), supported(proposed), None)
    assert not roles
    assert sorted(map(answered, ours)) == sorted(map(answered, theirs))


@given(proposals())
def test_the_acceptance_is_the_bytes_of_pynetdicom_s(proposed: list[PresentationContext]) -> None:
    primitive = accepting(negotiated(proposed, supported(proposed)))
    assert encoded_acceptance(primitive) == A_ASSOCIATE_AC(primitive).encode()
