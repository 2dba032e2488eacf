"""The session that answers: the graph with its inner tensors as outputs, and Grad-CAM along where it compiles."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError
from whyray.base.stages import stage
from whyray.inference.class_maps import MAPS, TARGETS, ClassMaps, add_grad_cam
from whyray.inference.graph import Graph
from whyray.inference.session import (
    RuntimeOptions,
    device_of,
    open_session,
    run_placed,
    run_session,
    runtime_errors,
)

_LOG = logging.getLogger(__name__)


class AnswerSession:
    """One ONNX Runtime session of a graph, which gives `tensors`, and with `maps` Grad-CAM of one item along.

    Where the graph does not load or run with the maps in it, it goes on without, and says so in the log.
    """

    def __init__(
        self, graph: Graph, tensors: Sequence[str], options: RuntimeOptions, maps: ClassMaps | None = None
    ) -> None:
        self._where = graph.where
        proto = graph.giving(list(tensors))
        plain = proto.SerializeToString()
        self._maps = maps if maps is not None and add_grad_cam(proto, maps) else None
        self._session: Any = None
        if self._maps is not None:
            try:
                self._session = open_session(proto.SerializeToString(), options, name=graph.where)
            except PackageError as error:
                self._without_maps(error)
        if self._session is None:
            self._session = open_session(plain, options, name=graph.where)

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's execution providers in use, preferred first."""
        return tuple(self._session.get_providers())

    @property
    def input_type(self) -> Any:
        """numpy's type of the image."""
        return np.float16 if self._session.get_inputs()[0].type == "tensor(float16)" else np.float32

    def run(
        self, name: str, fed: NDArray[Any], tensors: Sequence[str], *, maps: bool
    ) -> tuple[dict[str, FloatArray], dict[int, FloatArray]]:
        """Tensors by name for the input `name`, float32, and with `maps` Grad-CAM (*spatial) by number of the target.

        Whatever ONNX Runtime raises, it raises.
        """
        if maps and self._maps is not None:
            targets = np.array(self._maps.targets, np.int64)
            failures: tuple[type[Exception], ...] = (PackageError, *runtime_errors())
            try:
                *outputs, class_maps = run_session(self._session, [*tensors, MAPS], {name: fed, TARGETS: targets})
                return _named(tensors, outputs), dict(zip(self._maps.targets, class_maps[0], strict=True))
            except failures as error:
                self._without_maps(error)
        return _named(tensors, run_session(self._session, tensors, {name: fed})), {}

    @property
    def device(self) -> str:
        """Where its tensors lie, as I/O binding names it: 'cuda' or 'cpu'."""
        return device_of(self._session)

    def run_where_it_lies(self, name: str, value: Any, tensor: str) -> Any:
        """One tensor for the input `name`, both OrtValues on the session's device. Raises what ONNX Runtime raises."""
        with stage("forward passes"):
            (output,) = run_placed(self._session, [tensor], {name: value}, self.device)
        return output

    def _without_maps(self, error: Exception) -> None:
        _LOG.warning("%s: Grad-CAM in the graph does not run and is computed beside it: %s", self._where, error)
        self._maps = None


def _named(tensors: Sequence[str], outputs: Sequence[NDArray[Any]]) -> dict[str, FloatArray]:
    return dict(zip(tensors, (np.asarray(output, np.float32) for output in outputs), strict=True))
