"""Instances → sorted images with geometry → model tensors, and every value back to its source pixel."""

from whyray.base.nifti import nifti_image
from whyray.imaging.attributes import attribute_name, decimal_number, decimal_numbers, written_value
from whyray.imaging.back import mask_of_scores, mask_to_source, masks_of_classes, scores_to_source, to_source
from whyray.imaging.functional_groups import group_item, holder_of
from whyray.imaging.geometry import frame_pixel_to_patient
from whyray.imaging.image_origin import COMPUTED, Computed, computed, quality_control
from whyray.imaging.instance import quiet
from whyray.imaging.lookup_tables import Table
from whyray.imaging.model_input import to_model
from whyray.imaging.nifti import NIFTI_MODALITIES, is_nifti, wrap_nifti
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.nuclear_medicine import detector_view
from whyray.imaging.orientation import (
    DIRECTIONS,
    derived_orientation,
    frame_orientation,
    grid_directions,
    opposite,
)
from whyray.imaging.other_objects import counted, other_object, passed_over, sop_class_of
from whyray.imaging.photometry import SourceVoi, Window, is_shown_as_stored, voi_of
from whyray.imaging.picture import WRAPPED, is_picture, wrap_picture
from whyray.imaging.pixel_spacing import magnification, spacing_plane
from whyray.imaging.read import Refusal, StudyImages, read_images
from whyray.imaging.reading_progress import OnProgress
from whyray.imaging.source import ModelGrid, ModelInput, SourceFrame, SourceImage
from whyray.imaging.structures import (
    SEGMENTATIONS,
    Code,
    StudyStructure,
    StudyStructures,
    is_segmentation,
    structures_of_study,
    structures_on_grid,
)
from whyray.imaging.ultrasound_regions import spacing_of_area
from whyray.imaging.units import values_in_unit

__all__ = [
    "COMPUTED",
    "DIRECTIONS",
    "NIFTI_MODALITIES",
    "SEGMENTATIONS",
    "WRAPPED",
    "Code",
    "Computed",
    "ModelGrid",
    "ModelInput",
    "Note",
    "NoteKind",
    "OnProgress",
    "Refusal",
    "SourceFrame",
    "SourceImage",
    "SourceVoi",
    "StudyImages",
    "StudyStructure",
    "StudyStructures",
    "Table",
    "Window",
    "attribute_name",
    "computed",
    "counted",
    "decimal_number",
    "decimal_numbers",
    "derived_orientation",
    "detector_view",
    "frame_orientation",
    "frame_pixel_to_patient",
    "grid_directions",
    "group_item",
    "holder_of",
    "is_nifti",
    "is_picture",
    "is_segmentation",
    "is_shown_as_stored",
    "magnification",
    "mask_of_scores",
    "mask_to_source",
    "masks_of_classes",
    "nifti_image",
    "opposite",
    "other_object",
    "passed_over",
    "quality_control",
    "quiet",
    "read_images",
    "scores_to_source",
    "sop_class_of",
    "spacing_of_area",
    "spacing_plane",
    "structures_of_study",
    "structures_on_grid",
    "to_model",
    "to_source",
    "values_in_unit",
    "voi_of",
    "wrap_nifti",
    "wrap_picture",
    "written_value",
]
