"""Key Object Selection documents (PS3.3 A.35.4, TID 2010): the slices that a map lights up most."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from whyray.results import content_items as sr
from whyray.results.answer import Answer, Finding, MapInSource
from whyray.results.coding import dcm
from whyray.results.header import new_dataset
from whyray.results.page.key_slices import key_slices
from whyray.results.references import evidence_items, instance_item, is_multi_frame
from whyray.results.side import add_side
from whyray.results.templates import Templates, Wording
from whyray.results.uids import UidSource, map_key

SOP_CLASS_UID = KeyObjectSelectionDocumentStorage


def key_objects(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    finding: Finding,
    each: MapInSource,
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
        sop_instance_uid=uids.uid("ko", finding.target.name, map_key(each), str(len(pages))),
        instance_number=instance_number,
    )
    made.ReferencedPerformedProcedureStepSequence = []
    image = answer.image
    add_side(made, image)
    chosen = (
        key_slices(each.values, each.region, templates.layout) if image.kind == "volume" else range(len(image.frames))
    )
    frames = [image.frames[index] for index in chosen]
    score = "" if finding.probability is None else f" {finding.probability:.2f}"
    description = f"{finding.target.name}{score}: {wording.method.format(method=each.method)}. "
    selected = [
        sr.image(
            "CONTAINS",
            None,
            instance_item(image.headers[frame.sop_instance_uid]),
            frames=[frame.frame_number] if is_multi_frame(image.headers[frame.sop_instance_uid]) else (),
        )
        for frame in frames
    ]
    selected += [sr.image("CONTAINS", None, instance_item(page)) for page in pages]
    root = sr.container(
        dcm("113000", "Of Interest"),
        [
            sr.text("CONTAINS", dcm("113012", "Key Object Description"), description + wording.not_for_diagnosis),
            *selected,
        ],
        template="2010",
        root=True,
    )
    made.update(root)
    headers = [image.headers[frame.sop_instance_uid] for frame in frames]
    made.CurrentRequestedProcedureEvidenceSequence = evidence_items([*headers, *pages])
    return made
