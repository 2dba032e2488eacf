"""References from a result to what it was made from: source images, series, and the frames of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from whyray.base.coded_concept import CodedConcept
from whyray.imaging import SourceFrame, SourceImage
from whyray.results.coding import dcm, item

SOURCE_FOR_PROCESSING = dcm("121322", "Source image for image processing operation")


def is_multi_frame(header: Dataset) -> bool:
    """Whether references to the instance need frame numbers."""
    return "NumberOfFrames" in header and int(header.NumberOfFrames or 1) > 1


def frames_of_instances(
    image: SourceImage, frames: Iterable[SourceFrame] | None = None
) -> list[tuple[Dataset, list[int]]]:
    """(header, numbers of the frames), one an instance, in the order of `frames`, by default all of the image.

    No numbers where the instance has one frame only, for references then name none (PS3.3 10.3).
    """
    numbers: dict[str, list[int]] = {}
    for frame in image.frames if frames is None else frames:
        numbers.setdefault(frame.sop_instance_uid, []).append(frame.frame_number)
    headers = image.headers
    return [(headers[uid], numbers[uid] if is_multi_frame(headers[uid]) else []) for uid in numbers]


def instance_item(header: Dataset, frame_numbers: Sequence[int] = ()) -> Dataset:
    """An item with Referenced SOP Class and Instance, and the frames of a multi-frame instance."""
    made = Dataset()
    made.ReferencedSOPClassUID = header.SOPClassUID
    made.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if frame_numbers and is_multi_frame(header):
        made.ReferencedFrameNumber = list(frame_numbers) if len(frame_numbers) > 1 else frame_numbers[0]
    return made


def source_image_items(
    image: SourceImage, frames: Iterable[SourceFrame], purpose: CodedConcept, *, locations_preserved: str | None
) -> Items:
    """Items of Source Image Sequence (0008,2112), one an instance, in the order of `frames`."""
    made = Items()
    for header, numbers in frames_of_instances(image, frames):
        reference = instance_item(header, numbers)
        reference.PurposeOfReferenceCodeSequence = [item(purpose)]
        if locations_preserved is not None:
            reference.SpatialLocationsPreserved = locations_preserved
        made.append(reference)
    return made


def add_referenced_series(made: Dataset, image: SourceImage, others: Iterable[Dataset] = ()) -> None:
    """Referenced Series Sequence (0008,1115) of the Common Instance Reference module, PS3.3 C.12.2."""
    by_series: dict[str, list[Dataset]] = {}
    for header in [*_headers_in_order(image), *others]:
        by_series.setdefault(str(header.SeriesInstanceUID), []).append(instance_item(header))
    made.ReferencedSeriesSequence = Items()
    for uid, instances in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID = uid
        series.ReferencedInstanceSequence = instances
        made.ReferencedSeriesSequence.append(series)


def evidence_items(headers: Iterable[Dataset]) -> Items:
    """Items of Current Requested Procedure Evidence Sequence (0040,A375), by study and series (PS3.3 C.17.2.1)."""
    by_study: dict[str, dict[str, dict[str, Dataset]]] = {}
    for header in headers:
        series = by_study.setdefault(str(header.StudyInstanceUID), {})
        series.setdefault(str(header.SeriesInstanceUID), {})[str(header.SOPInstanceUID)] = instance_item(header)
    made = Items()
    for study_uid, series in by_study.items():
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = Items()
        for series_uid, instances in series.items():
            one = Dataset()
            one.SeriesInstanceUID = series_uid
            one.ReferencedSOPSequence = list(instances.values())
            study.ReferencedSeriesSequence.append(one)
        made.append(study)
    return made


def _headers_in_order(image: SourceImage) -> list[Dataset]:
    return [image.headers[uid] for uid in dict.fromkeys(frame.sop_instance_uid for frame in image.frames)]
