"""What runs a package: the ONNX graph and its sessions, layers that are read, and gradients of it."""

from whyray.inference.autoencoder import Autoencoder
from whyray.inference.captioner import Caption, Captioner
from whyray.inference.converters import TwinConverter, first_right, to_torch
from whyray.inference.display import as_input, displayed, per_channel
from whyray.inference.feature_choice import WITHOUT_MAPS
from whyray.inference.gradient import PARITY, GradientEngine, Twin, parity_gap, probes_of_features, pulled_back
from whyray.inference.gradient_proof import rounding_operators, unproven
from whyray.inference.head import AffineHead, affine_head, is_affine
from whyray.inference.input_type import cast_to
from whyray.inference.kept_runs import KeptRuns, keeping_runs
from whyray.inference.map_placement import AxisPlacement, MapPlacement, axis_taps, axis_weights
from whyray.inference.mask_graphs import GridMasks, MaskRule, SegmentMasks
from whyray.inference.masked_passes import MaskedPass, MaskNumbers
from whyray.inference.memory import memory_budget
from whyray.inference.model import Model, load_package, target_spec
from whyray.inference.network_session import Run
from whyray.inference.rules import ELEMENTWISE, Operator, Rule, moving
from whyray.inference.session import RuntimeOptions, open_session, run_session

__all__ = [
    "ELEMENTWISE",
    "PARITY",
    "WITHOUT_MAPS",
    "AffineHead",
    "Autoencoder",
    "AxisPlacement",
    "Caption",
    "Captioner",
    "GradientEngine",
    "GridMasks",
    "KeptRuns",
    "MapPlacement",
    "MaskNumbers",
    "MaskRule",
    "MaskedPass",
    "Model",
    "Operator",
    "Rule",
    "Run",
    "RuntimeOptions",
    "SegmentMasks",
    "Twin",
    "TwinConverter",
    "affine_head",
    "as_input",
    "axis_taps",
    "axis_weights",
    "cast_to",
    "displayed",
    "first_right",
    "is_affine",
    "keeping_runs",
    "load_package",
    "memory_budget",
    "moving",
    "open_session",
    "parity_gap",
    "per_channel",
    "probes_of_features",
    "pulled_back",
    "rounding_operators",
    "run_session",
    "target_spec",
    "to_torch",
    "unproven",
]
