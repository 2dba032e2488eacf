"""The manifest of an ONNX file, as far as the file says it; the rest is empty, and refused until it is filled in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from whyray.base.errors import PackageError

_LAYOUTS = {4: ("planar", "NCHW"), 5: ("volume", "NCDHW")}
_MOST_CHANNELS = 4
_INTENSITIES = {
    "planar": "{source: voi} is 0..1 as displayed",
    "volume": "e.g. {source: modality, window: [40, 400], unit: HU} is 0..1 of that window",
}
_SPACING = {
    "planar": [],
    "volume": [
        "  # spacing: [3.0, 1.0, 1.0] # mm along slices, rows, columns as in training; left out, all of it is fitted "
        "into shape"
    ],
}
"""A network of patches gives an answer all the same where its spacing is left out: so the draft names the key."""
_OF_A_TARGET = [
    "    # threshold: 0.5         # of each target: the probability (or value) from which on it is reported",
    "    # code: {value: , scheme: SCT, meaning: }  # what the finding is called everywhere; else by a code of our own",
]
_SCOPE = [
    "# scope:                     # of other images nothing is said; left out, it answers about any, a leg too",
    "#   body_parts: [CHEST]      # words of Body Part Examined",
]
_LEFT_OUT = {
    "planar": [
        "# companions:                # packages that stand beside it; these are for frontal chest radiographs",
        "#   scope: cxr-scope@1       # tells images that the model was not made for; left out, none is told",
        "#   anatomy: cxr-anatomy@1   # tells places where the finding can't lie, and names them",
        *_SCOPE,
        "#   views: [PA, AP]          # of View Position",
    ],
    "volume": _SCOPE,
}
"""Keys without which a package works, and is believed less: in comments, for they differ by what images are of."""
_CARD = "# card: MODEL_CARD.md        # a file beside this one: what the model was trained and measured on"
_ACTIVATIONS = frozenset({"Sigmoid", "Softmax", "LogSoftmax"})


def draft_manifest(graph: Path) -> str:
    """Text of a `model.yaml` for this graph: names, shapes and the number of targets are the graph's.

    What only its maker knows (task, how images were scaled and fitted, what the targets are called, licence, intended
    use) is empty: nothing is guessed that would answer wrongly without a word. A package is refused until it is there.

    Raises
    ------
    PackageError
        If the file is no ONNX graph, or has no input that an image could be, or no output.
    """
    proto = _loaded(graph)
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = {value.name: _shape(value) for value in proto.graph.input if value.name not in constants}
    images = {name: shape for name, shape in inputs.items() if len(shape) in _LAYOUTS}
    if not images or not proto.graph.output:
        shapes = ", ".join(f"{name} {shape}" for name, shape in inputs.items()) or "none"
        raise PackageError(
            f"{graph}: expected an input (N, C, rows, columns) or (N, C, slices, rows, columns), found {shapes}",
            advice="Export the model so that it takes an image, or a volume.",
        )
    image, shape = next(iter(images.items()))
    output = proto.graph.output[0]
    return "\n".join(
        [
            "# Made from the graph by `whyray package init`. Fill in what is empty; docs/packages.md explains it.",
            f"name: {_name_of(graph)}",
            "version: 1.0.0",
            "title:                       # what people read, e.g. Lung opacity on a frontal chest radiograph",
            "manufacturer:                # who answers for the model",
            *_task(output, len(shape)),
            f"graph: {graph.name}",
            "licence:                     # of the weights, e.g. Apache-2.0",
            "intended_use:                # on which images, for what, and for what not",
            *_input(image, shape),
            *_others([name for name in inputs if name != image]),
            *_output(proto, output),
            "targets:                     # in the order of the output's channels",
            *_targets(output, len(shape)),
            "# What follows may be left out: `whyray package check` says what that means.",
            _CARD,
            *_LEFT_OUT[_LAYOUTS[len(shape)][0]],
            "",
        ]
    )


def _loaded(graph: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        proto = onnx.load(graph, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise PackageError(f"{graph}: not a readable ONNX graph: {error}", advice="Export the model again.") from error
    return proto


def _shape(value: Any) -> list[int | None]:
    """Sizes by axis; None where the graph leaves one open."""
    return [size.dim_value or None for size in value.type.tensor_type.shape.dim]


def _name_of(graph: Path) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", graph.stem.lower()).strip("-")
    return plain or "model"


def _task(output: Any, rank: int) -> list[str]:
    if len(_shape(output)) == rank:
        return ["task: segmentation"]
    return ["task:                        # multi-label, classification (one of several) or regression"]


def _input(name: str, shape: list[int | None]) -> list[str]:
    kind, layout = _LAYOUTS[len(shape)]
    channels, sizes = shape[1], shape[2:]
    last = shape[-1]
    if (
        len(shape) == 4
        and last is not None
        and last <= _MOST_CHANNELS
        and (channels is None or channels > _MOST_CHANNELS)
    ):
        layout, channels, sizes = "NHWC", last, shape[1:3]
    size = (
        f"[{', '.join(map(str, sizes))}]" if None not in sizes else "# left open: the size of training, [rows, columns]"
    )
    return [
        "input:",
        f"  name: {name}",
        f"  layout: {layout}",
        f"  kind: {kind}",
        f"  shape: {size}",
        f"  channels: {channels or ''}",
        "  fit:                       # as in training: pad (keeps the aspect ratio), stretch or crop",
        f"  intensity:                 # as in training: {_INTENSITIES[kind]}; mean and std: docs/packages.md",
        *_SPACING[kind],
        "  modalities: []             # e.g. [CR, DX]; empty takes any",
    ]


def _others(names: list[str]) -> list[str]:
    if not names:
        return []
    return ["  others:", *(f"    {name}: {{value: , meaning: }}  # the same for every patient" for name in names)]


def _output(proto: Any, output: Any) -> list[str]:
    made_by = next((node.op_type for node in proto.graph.node if output.name in node.output), "")
    if made_by in _ACTIVATIONS:
        activation = f"none           # the graph itself ends in {made_by}; what lies before is explained"
    else:
        activation = "               # what makes probabilities of it: sigmoid, softmax, or none for a regression"
    return ["output:", f"  name: {output.name}", f"  activation: {activation}"]


def _targets(output: Any, rank: int) -> list[str]:
    shape = _shape(output)
    count = (shape[1] if len(shape) > 1 else None) or 1
    names = [f"  - name:                    # what channel {number} says" for number in range(count)]
    if len(shape) == rank:
        names[0] += "; where it is what belongs to no segment, add background: true"
    return [names[0], *_OF_A_TARGET, *names[1:]]
