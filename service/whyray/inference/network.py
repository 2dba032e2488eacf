"""The network of a package: its graph, the tensor that is explained, the feature maps, and the head behind them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import ModelOutputError, PackageError, TierMissing
from whyray.inference.answers import checked_logits
from whyray.inference.feature_choice import Features, chosen_features, named_features
from whyray.inference.feature_layout import channels_first
from whyray.inference.feature_place import why_misplaced
from whyray.inference.graph import Graph, item_shape, read_graph
from whyray.inference.graph_place import places_in
from whyray.inference.head import AffineHead, HeadRun, affine_head
from whyray.inference.map_placement import MapPlacement, placement
from whyray.inference.output_form import OutputForm, output_form, refuse_contradiction
from whyray.inference.session import RuntimeOptions
from whyray.packages import InputSpec, Manifest, Package


@dataclass(frozen=True, eq=False)
class Network:
    """A graph that fits its manifest, and what of it is explained.

    Attributes
    ----------
    manifest
        All of model.yaml.
    options
        How sessions of it, and of parts of it, run.
    graph
        The graph, with one input: the image.
    form
        How the answer comes from the graph, and of what explanations are a part.
    features
        The tensor of the class activation maps: the manifest's, else the last map; or why there is none.
    """

    manifest: Manifest
    options: RuntimeOptions
    graph: Graph
    form: OutputForm
    features: Features
    _heads: dict[str, HeadRun] = field(default_factory=dict)
    _placements: dict[str, MapPlacement] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """`NAME@VERSION`, for messages and logs."""
        return f"{self.manifest.name}@{self.manifest.version}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a batch of one in the layout of the manifest, e.g. (1, 1, 224, 224)."""
        return (1, *item_shape(self.manifest.input))

    @property
    def logits_name(self) -> str:
        """The tensor that is explained."""
        return self.form.logits

    @cached_property
    def features_name(self) -> str | None:
        """The tensor of the class activation maps, channels-first; None without one (see `features`)."""
        name = self.features.name
        return None if name is None else self.graph.stands_for.get(name, name)

    @cached_property
    def tapped_names(self) -> tuple[str, ...]:
        """Tensors that a run for explanations gives: logits first; features, embedding, evidence where there are."""
        wanted = (self.logits_name, self.features_name, self.manifest.output.embedding, self.evidence_name)
        return tuple(dict.fromkeys(name for name in wanted if name is not None))

    @property
    def evidence_name(self) -> str | None:
        """The tensor whose terms the answer is the sum of; None where the manifest names none."""
        return None if self.manifest.evidence is None else self.manifest.evidence.output

    @cached_property
    def head(self) -> AffineHead | None:
        """The head in closed form, or None where it has none."""
        if self.features_name is None:
            return None
        return affine_head(self.graph, self.features_name, self.logits_name, self.options)

    @property
    def head_run(self) -> HeadRun:
        """The head alone, from features to logits; PackageError where the logits depend on more than the features."""
        if self.features_name is None:
            raise TierMissing(f"{self.identity} has no feature maps")
        return self.head_from(self.features_name)

    def head_from(self, tensor: str) -> HeadRun:
        """The graph from `tensor` to the logits, to be run on changed values; made once.

        Raises PackageError where the logits depend on more than that tensor.
        """
        if tensor not in self._heads:
            self._heads[tensor] = HeadRun(self.graph, tensor, self.logits_name, self.options)
        return self._heads[tensor]

    def placement(self, tensor: str) -> MapPlacement:
        """Where the map `tensor` (N, channels, *grid) lies on the image: by its windows, edge to edge where unknown."""
        if tensor not in self._placements:
            spec = self.manifest.input
            placed = places_in(self.graph, spec, tensor)
            self._placements[tensor] = placement(placed, spec.shape)
        return self._placements[tensor]

    def checked_input(self, x: NDArray[Any]) -> FloatArray:
        """`x` in the layout of the manifest → (N, C, *spatial) float32, checked; a missing batch axis is added.

        The one place where an image changes its layout: from here on all is channels-first, the graph too.

        Raises ModelOutputError for another shape, NaN or infinity.
        """
        item = item_shape(self.manifest.input)
        array = np.asarray(x, np.float32)
        if array.shape == item:
            array = array[None]
        if array.shape[1:] != item or not len(array):
            raise ModelOutputError(
                f"{self.identity}: expected an input of shape (N, {', '.join(map(str, item))}), found {array.shape}",
                advice="Prepare the image by the package's manifest.",
            )
        if not np.isfinite(array).all():
            raise ModelOutputError(
                f"{self.identity}: the input has NaN or infinite values",
                advice="Look at how the image was read and scaled: a model answers anything about such numbers.",
            )
        return np.moveaxis(array, -1, 1) if self.manifest.input.layout == "NHWC" else array

    def shaped_logits(self, raw: FloatArray, batch: int) -> FloatArray:
        """The graph's output for `batch` items as (N, targets) or (N, targets, *spatial); ModelOutputError if wrong."""
        return checked_logits(raw, batch, self.manifest, identity=self.identity, tensor=self.logits_name)

    def with_graph(self, proto: Any) -> Network:
        """The same network with another graph of the same shape, e.g. one with randomised weights."""
        graph = Graph(proto, self.manifest.input, f"{self.graph.where} (changed)", self.graph.stands_for)
        form = replace(self.form, unclear=False)
        return Network(self.manifest, self.options, graph, form, self.features, _placements=self._placements)


def read_network(package: Package, options: RuntimeOptions) -> Network:
    """Read a package's graph and compare it with the manifest.

    Raises PackageError where the graph does not load, has not the tensors that the manifest names, ends in an
    activation that the manifest applies again, or has no map where output.features says that there is one.
    """
    manifest = package.manifest
    spec, output = manifest.input, manifest.output
    graph = read_graph(package.graph, spec)
    if output.name not in graph.producer:
        raise PackageError(
            f"{graph.where}: output.name says {output.name!r}, but the outputs are {graph.outputs}",
            advice="Name one of the graph's outputs in model.yaml.",
        )
    if manifest.evidence is not None and manifest.evidence.output not in graph.producer:
        raise PackageError(
            f"{graph.where}: evidence.output says {manifest.evidence.output!r}, but the graph has no such tensor",
            advice="Name the tensor (N, targets, *grid) that the answer is the sum of, or leave evidence out.",
        )
    graph, form = output_form(graph, manifest, options)
    concepts = manifest.concepts
    if concepts is not None:
        key, count = "concepts.activation", len(concepts.names)
        refuse_contradiction(graph, concepts.output, concepts.activation, key=key, targets=count)
    if manifest.task == "segmentation":
        _refuse_elsewhere(graph, form.logits, "segments", spec, options)
    if manifest.evidence is not None:
        _refuse_elsewhere(graph, manifest.evidence.output, "terms", spec, options)
    if manifest.prototypes is not None and manifest.prototypes.maps in graph.producer:
        _refuse_elsewhere(graph, manifest.prototypes.maps, "similarities", spec, options)
    if output.features is None:
        features = chosen_features(graph, form.logits, spec, options)
    else:
        features = named_features(graph, output.features, form.logits, spec, options)
    return Network(manifest, options, channels_first(graph, features.name, spec), form, features)


def _refuse_elsewhere(graph: Graph, tensor: str, what: str, spec: InputSpec, options: RuntimeOptions) -> None:
    if (misplaced := why_misplaced(graph, tensor, spec, options, roughly=True)) is not None:
        raise PackageError(
            f"{graph.where}: the {what} in {tensor!r} lie otherwise than the image: {misplaced}",
            advice="What the graph turns, mirrors or crops at its beginning it has to bring back at its end.",
        )
