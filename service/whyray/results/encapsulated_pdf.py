"""Encapsulated PDF (PS3.3 A.45.1): the pages on paper, for sites that print or file reports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from whyray.results.answer import Answer
from whyray.results.coding import LONGEST_SHORT_TEXT, item, one_value
from whyray.results.header import laterality, new_dataset, recognisable
from whyray.results.pdf import pdf_file
from whyray.results.references import instance_item
from whyray.results.templates import Templates
from whyray.results.uids import UidSource
from whyray.results.wording import Wording

SOP_CLASS_UID = EncapsulatedPDFStorage


def encapsulated_pdf(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    pictures: Sequence[NDArray[np.uint8]],
    wording: Wording,
    *,
    key: str,
) -> Dataset:
    """One document with these pictures as its sheets; `key` names what is on them, for the UID."""
    made = new_dataset(
        answer,
        templates,
        uids,
        kind="pdf",
        sop_class_uid=SOP_CLASS_UID,
        sop_instance_uid=uids.uid("pdf", key),
    )
    image = answer.image
    made.ConversionType = "WSD"
    made.AcquisitionDateTime = None
    side = laterality(image.header)
    if side:
        made.ImageLaterality = side
    # the patient is named on paper
    made.BurnedInAnnotation = "YES"
    made.RecognizableVisualFeatures = recognisable(answer)
    made.SourceInstanceSequence = [instance_item(header) for header in image.headers.values()]
    made.DocumentTitle = one_value(made.SeriesDescription, LONGEST_SHORT_TEXT)
    made.ConceptNameCodeSequence = [item(templates.concepts.document)]
    made.VerificationFlag = "UNVERIFIED"
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document = pdf_file(
        pictures, title=made.DocumentTitle, language=wording.language.value, sheet=templates.layout.paper.sheet
    )
    made.EncapsulatedDocumentLength = len(document)
    made.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return made
