"""Any inner tensors of a graph, and the rest of the graph behind one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whyray.base.errors import PackageError
from whyray.inference.head import HeadRun
from whyray.inference.session import open_session, run_session, runtime_errors

if TYPE_CHECKING:
    from whyray.inference.model import Model


def tapped(model: Model, x: NDArray[np.float32], names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The named tensors of a pass of channels-first `x` (N, C, *spatial), each as the graph has it, float32.

    One pass an item where the graph's batch is fixed. The pass counts in `model.forwards`. Raises PackageError
    where the graph has no such tensor.
    """
    wanted = tuple(dict.fromkeys(names))
    missing = [each for each in wanted if each not in model.graph.producer]
    if missing:
        raise PackageError(
            f"{model.graph.where}: no tensor is called {', '.join(missing)}",
            advice="Name tensors of the graph in model.yaml; a viewer of ONNX graphs shows them.",
        )
    session = model.session(
        ("taps", wanted),
        lambda: open_session(model.graph.with_outputs(list(wanted)), model.options, name=str(model.package.graph)),
    )
    fed = model.fed(x)
    whole = len(x) == 1 or model.batchable(x)
    parts = [fed] if whole else [fed[each : each + 1] for each in range(len(fed))]
    try:
        runs = [run_session(session, wanted, {model.graph.input: part}) for part in parts]
    except runtime_errors() as error:
        raise PackageError(
            f"{model.identity}: the graph does not run up to {', '.join(wanted)}: {error}",
            advice="Name other tensors of the graph in model.yaml.",
        ) from error
    model.forwards += len(x)
    return {
        name: np.concatenate([np.asarray(run[place], np.float32) for run in runs]) for place, name in enumerate(wanted)
    }


def head_from(model: Model, tensor: str) -> HeadRun:
    """The graph from `tensor` to the logits, to be run on changed values; made once.

    Raises PackageError where the logits depend on more than that tensor.
    """
    return model.session(("head", tensor), lambda: HeadRun(model.graph, tensor, model.logits_name, model.options))
