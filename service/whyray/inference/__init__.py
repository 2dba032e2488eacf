"""What runs a package: the ONNX graph and its sessions, layers that are read, and gradients of it."""

from whyray.inference.autoencoder import Autoencoder
from whyray.inference.captioner import Caption, Captioner
from whyray.inference.model import Model, Run, load_package, target_spec
from whyray.inference.session import RuntimeOptions
from whyray.inference.taps import head_from, tapped

__all__ = [
    "Autoencoder",
    "Caption",
    "Captioner",
    "Model",
    "Run",
    "RuntimeOptions",
    "head_from",
    "load_package",
    "tapped",
    "target_spec",
]
