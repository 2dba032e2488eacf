"""DICOM results: what goes back to the PACS, made from an answer and its explanations."""

from whyray.config import ResultKind
from whyray.results.ahead import shown_ahead
from whyray.results.answer import (
    Answer,
    Finding,
    FramesExplained,
    GradedExplanation,
    MapInSource,
    PackageIdentity,
    Prevalence,
    Result,
    StructureInSource,
    shown_maps,
)
from whyray.results.build import build_results
from whyray.results.build_frames import build_frame_results
from whyray.results.build_run import build_run_results, grouped_results
from whyray.results.checksums import checksum_of, checksums_of
from whyray.results.description import describe, describe_no_statement
from whyray.results.files import encode, write_picture
from whyray.results.header import invalid_attributes
from whyray.results.kinds import EVERY_KIND
from whyray.results.page.said import frames_explained_words
from whyray.results.page.typeface import illegible_languages
from whyray.results.png import png_file
from whyray.results.preview import previews
from whyray.results.refusal import Refusal
from whyray.results.report import EarlierResult
from whyray.results.strengths import strength_of, strengths_of
from whyray.results.study_images import BREAST_VIEWS, is_implant_displaced, modified_view, view_of
from whyray.results.templates import Templates, load_templates, template_schema, template_schemas
from whyray.results.wording import Wording

__all__ = [
    "BREAST_VIEWS",
    "EVERY_KIND",
    "Answer",
    "EarlierResult",
    "Finding",
    "FramesExplained",
    "GradedExplanation",
    "MapInSource",
    "PackageIdentity",
    "Prevalence",
    "Refusal",
    "Result",
    "ResultKind",
    "StructureInSource",
    "Templates",
    "Wording",
    "build_frame_results",
    "build_results",
    "build_run_results",
    "checksum_of",
    "checksums_of",
    "describe",
    "describe_no_statement",
    "encode",
    "frames_explained_words",
    "grouped_results",
    "illegible_languages",
    "invalid_attributes",
    "is_implant_displaced",
    "load_templates",
    "modified_view",
    "png_file",
    "previews",
    "shown_ahead",
    "shown_maps",
    "strength_of",
    "strengths_of",
    "template_schema",
    "template_schemas",
    "view_of",
    "write_picture",
]
