"""Models that answer something else than what they were made to, or nothing: the graph changed in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from whyray.inference import Model
from whyray.quality.randomisation import randomised


def scaled_head(model: Model, factor: float) -> Model:
    """The model with its logits multiplied, as if its last layer's weights and biases were."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.network.graph.proto)
    name = model.network.logits_name
    node = next(node for node in proto.graph.node if name in node.output)
    node.output[list(node.output).index(name)] = "unscaled"
    place = list(proto.graph.node).index(node)
    for later in list(proto.graph.node)[place + 1 :]:
        for index, read in enumerate(later.input):
            if read == name:
                later.input[index] = "unscaled"
    proto.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    proto.graph.node.append(helper.make_node("Mul", ["unscaled", "factor"], [name]))
    return model.with_graph(proto)


def bad_models(model: Model, seed: int = 0) -> Iterator[tuple[str, Model]]:
    """By name: weights shuffled within each tensor, from the last layer back; the head scaled down or emptied."""
    names = {"last layer": "last layer shuffled", "50% of the weights": "half of the weights shuffled",
             "100% of the weights": "all weights shuffled"}  # fmt: skip
    for stage, other in randomised(model, np.random.default_rng(seed)):
        if stage in names:
            yield names[stage], other
    yield "head × 1e-6", scaled_head(model, 1e-6)
    yield "head × 0", scaled_head(model, 0.0)
