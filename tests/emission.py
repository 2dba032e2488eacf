"""Series of emission tomography made to measure: PET with a slope a slice, nuclear medicine with its vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.tag import Tag
from pydicom.uid import PositronEmissionTomographyImageStorage

import synthetic
from synthetic import Plane

Activity = Callable[[NDArray[np.float64]], NDArray[Any]]
"""Patient position (..., 3) in mm → (...) in the series' unit."""


def rising(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Another activity at each place."""
    return np.asarray(5000 + points @ np.array([20.0, 33.0, 71.0]))


def pet(planes: Sequence[Plane], activity: Activity = rising, *, series: str = "pet", **attributes: Any) -> list[Any]:
    """One PET image a plane, each scaled by its own maximum, in Bq/ml, 370 MBq of F-18 injected an hour before."""
    volume = np.stack([activity(plane.points()) for plane in planes])
    slopes = volume.max(axis=(1, 2)) / 32000
    stored = np.round(volume / slopes[:, None, None]).astype(np.int16)
    made = synthetic.slices(stored, planes, modality="MR", series=series, window=None, shuffled=False)
    for data, slope in zip(made, slopes, strict=True):
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = PositronEmissionTomographyImageStorage
        data.Modality, data.ImageType = "PT", ["ORIGINAL", "PRIMARY"]
        for keyword in ("ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "EchoTime"):
            delattr(data, keyword)
        del data.EchoTrainLength, data.RepetitionTime
        data.RescaleSlope, data.RescaleIntercept = f"{slope:.10g}", "0"
        data.Units, data.CountsSource, data.SeriesType = "BQML", "EMISSION", ["WHOLE BODY", "IMAGE"]
        data.CorrectedImage, data.DecayCorrection = ["DECY", "ATTN", "SCAT"], "START"
        data.NumberOfSlices, data.ImageIndex = len(planes), data.InstanceNumber
        data.CollimatorType, data.RandomsCorrectionMethod = "NONE", "DLYD"
        data.FrameReferenceTime, data.ActualFrameDuration = "60000", "120000"
        data.PatientWeight = "70"
        tracer = Dataset()
        tracer.Radiopharmaceutical, tracer.RadiopharmaceuticalStartTime = "FDG", "091500"
        tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = "370000000", "6586.2"
        tracer.RadionuclidePositronFraction = "0.967"
        data.RadiopharmaceuticalInformationSequence = [tracer]
        for keyword, value in attributes.items():
            setattr(data, keyword, value)
    return made


def nuclear(
    frames: NDArray[Any],
    plane: Plane,
    *,
    image_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"),
    between: float | None = 3.0,
    vectors: Mapping[str, Sequence[int]] | None = None,
    series: str = "nm",
) -> FileDataset:
    """One nuclear medicine image of these stored values, `between` mm apart; `plane` is its first slice."""
    data = synthetic.cine(frames, modality="NM", series=series)
    del data.EnergyWindowVector, data.DetectorVector
    data.BitsStored, data.HighBit = 16, 15
    data.ImageType = list(image_type)
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = f"{data.StudyInstanceUID}.1", ""
    data.PixelSpacing = [f"{value:.10g}" for value in plane.spacing]
    detector = Dataset()
    detector.CollimatorType = "PARA"
    detector.ImagePositionPatient = [f"{value:.10g}" for value in plane.position]
    detector.ImageOrientationPatient = [f"{value:.10g}" for value in (*plane.row, *plane.column)]
    data.DetectorInformationSequence = [detector]
    if between is not None:
        data.SpacingBetweenSlices = between
    vectors = {"SliceVector": range(1, len(frames) + 1)} if vectors is None else vectors
    data.FrameIncrementPointer = [Tag(keyword) for keyword in vectors]
    for keyword, values in vectors.items():
        setattr(data, keyword, list(values))
    return data
