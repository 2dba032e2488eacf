"""What runs a package: the ONNX graph and its sessions, layers that are read, and gradients of it."""

from whyray.inference.autoencoder import Autoencoder
from whyray.inference.captioner import Caption, Captioner
from whyray.inference.model import Model, load_package, target_spec
from whyray.inference.network_session import Run
from whyray.inference.session import RuntimeOptions

__all__ = [
    "Autoencoder",
    "Caption",
    "Captioner",
    "Model",
    "Run",
    "RuntimeOptions",
    "load_package",
    "target_spec",
]
