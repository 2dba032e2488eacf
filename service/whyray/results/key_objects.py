"""Key Object Selection documents (PS3.3 A.35.4, TID 2010): the slices that a map lights up most.

The content is highdicom's, but for the frames of a multi-frame instance, for which its `KeyObjectSelection` (0.28.2)
has no parameter. Why its documents are not used is said in `report`.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
from pydicom import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from whyray.results import content_items as sr
from whyray.results.answer import Answer, Finding, MapInSource
from whyray.results.coding import dcm, item
from whyray.results.header import new_dataset
from whyray.results.page.key_slices import key_slices
from whyray.results.page.said import name_of
from whyray.results.references import evidence_items, is_multi_frame
from whyray.results.side import add_side
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, map_key
from whyray.results.wording import Wording

SOP_CLASS_UID = KeyObjectSelectionDocumentStorage


def key_objects(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    finding: Finding,
    heatmap: MapInSource,
    wording: Wording,
    pages: Sequence[Dataset],
    *,
    instance_number: int,
) -> Dataset:
    """The key slices of one map, highest attribution first, then the pages that show it where there are any.

    Of planar frames, all that the answer's image has, in its order.
    """
    made = new_dataset(
        answer,
        templates,
        uids,
        kind="ko",
        sop_class_uid=SOP_CLASS_UID,
        sop_instance_uid=uids.uid("ko", finding.target.name, map_key(heatmap), str(len(pages))),
        instance_number=instance_number,
    )
    made.ReferencedPerformedProcedureStepSequence = []
    image = answer.image
    add_side(made, image)
    chosen = (
        key_slices(heatmap.frame_strengths, templates.layout) if image.kind == "volume" else range(len(image.frames))
    )
    frames = [image.frames[index] for index in chosen]
    score = "" if finding.probability is None else f" {wording.numbers.probability(finding.probability)}"
    description = (
        f"{wording.with_statement(name_of(finding, wording) + score, wording.method.format(method=heatmap.method))}. "
    )
    headers = [image.headers[frame.sop_instance_uid] for frame in frames]
    content = highdicom.ko.KeyObjectSelection(
        document_title=item(dcm("113000", "Of Interest")),
        referenced_objects=[*headers, *pages],
        description=sr.plain_text(description + wording.not_for_diagnosis),
    )
    for reference, frame, header in zip(content.get_references(), frames, headers, strict=False):
        if is_multi_frame(header):
            reference.ReferencedSOPSequence[0].ReferencedFrameNumber = frame.frame_number
    content[0].ContinuityOfContent = "SEPARATE"
    made.update(content[0])
    made.CurrentRequestedProcedureEvidenceSequence = evidence_items([*headers, *pages])
    return made
