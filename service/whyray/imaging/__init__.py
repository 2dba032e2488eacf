"""Instances → sorted images with geometry → model tensors, and every value back to its source pixel."""

from whyray.imaging.back import mask_to_source, scores_to_source, to_source
from whyray.imaging.geometry import frame_pixel_to_patient
from whyray.imaging.model_input import to_model
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.orientation import DIRECTIONS, frame_orientation, opposite, patient_orientation
from whyray.imaging.other_objects import counted, other_object, passed_over, sop_class_of
from whyray.imaging.picture import WRAPPED, is_picture, wrap_picture
from whyray.imaging.read import Refusal, StudyImages, read_images
from whyray.imaging.source import ModelGrid, ModelInput, SourceFrame, SourceImage
from whyray.imaging.structures import (
    SEGMENTATIONS,
    StudyStructure,
    StudyStructures,
    is_segmentation,
    structures_of_study,
    structures_on_grid,
)

__all__ = [
    "DIRECTIONS",
    "SEGMENTATIONS",
    "WRAPPED",
    "ModelGrid",
    "ModelInput",
    "Note",
    "NoteKind",
    "Refusal",
    "SourceFrame",
    "SourceImage",
    "StudyImages",
    "StudyStructure",
    "StudyStructures",
    "counted",
    "frame_orientation",
    "frame_pixel_to_patient",
    "is_picture",
    "is_segmentation",
    "mask_to_source",
    "opposite",
    "other_object",
    "passed_over",
    "patient_orientation",
    "read_images",
    "scores_to_source",
    "sop_class_of",
    "structures_of_study",
    "structures_on_grid",
    "to_model",
    "to_source",
    "wrap_picture",
]
