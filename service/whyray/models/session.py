"""ONNX Runtime sessions: which device, how many threads, and a loud failure where the GPU asked for is not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from whyray.errors import PackageError

Device = Literal["cpu", "cuda", "auto"]


@dataclass(frozen=True)
class RuntimeOptions:
    """How models run.

    Attributes
    ----------
    device
        `auto` takes CUDA where this ONNX Runtime has it; `cuda` fails where it does not load.
    intra_op_threads
        Threads within one operator; None leaves it to ONNX Runtime (all cores).
    batch_size
        Items in one forward pass of a perturbation method; None chooses by the size of the input.
    gpu_memory_limit
        Bytes of GPU memory that one session may take; None leaves it open.
    artefacts
        A site's folders of reference artefacts, NAME/VERSION/KIND.npz, before those that came with the package.
    """

    device: Device = "auto"
    intra_op_threads: int | None = None
    batch_size: int | None = None
    gpu_memory_limit: int | None = None
    artefacts: tuple[Path, ...] = ()


def open_session(graph: bytes, options: RuntimeOptions, *, name: str) -> Any:
    """An `onnxruntime.InferenceSession` of a serialised graph.

    Raises PackageError where the graph does not load, or where CUDA was asked for and did not load.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    wants_gpu = options.device == "cuda" or (options.device == "auto" and "CUDAExecutionProvider" in available)
    if options.device == "cuda" and "CUDAExecutionProvider" not in available:
        raise PackageError(
            f"{name}: device 'cuda' was asked for, but this ONNX Runtime has only {available}",
            advice="Install onnxruntime-gpu instead of onnxruntime (never both), or set device: cpu.",
        )
    providers: list[Any] = ["CPUExecutionProvider"]
    if wants_gpu:
        if hasattr(onnxruntime, "preload_dlls"):
            # CUDA and cuDNN may be Python packages (torch brings them), which the loader does not search by itself
            onnxruntime.preload_dlls()
        limits = {} if options.gpu_memory_limit is None else {"gpu_mem_limit": str(options.gpu_memory_limit)}
        # TF32 would cost three decimal digits, and with them parity with the CPU.
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0", **limits}))
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    if options.intra_op_threads is not None:
        settings.intra_op_num_threads = options.intra_op_threads
    try:
        session = onnxruntime.InferenceSession(graph, settings, providers=providers)
    except Exception as error:  # ONNX Runtime raises half a dozen unrelated classes for a graph that does not load
        raise PackageError(f"{name}: the graph does not load: {error}") from error
    if options.device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise PackageError(
            f"{name}: device 'cuda' was asked for, but CUDA did not load; running on {session.get_providers()}",
            advice="Check driver and CUDA/cuDNN libraries (`nvidia-smi`, ONNX Runtime's release notes).",
        )
    return session
