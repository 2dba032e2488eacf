"""The graph of a package, read once: what its output is, which maps it has, and whether the manifest fits both."""

from __future__ import annotations

from dataclasses import dataclass

from whyray.base.errors import PackageError
from whyray.inference.feature_choice import Features, chosen_features, named_features
from whyray.inference.feature_layout import channels_first
from whyray.inference.graph import Graph, read_graph
from whyray.inference.output_form import OutputForm, output_form, refuse_contradiction
from whyray.inference.session import RuntimeOptions
from whyray.packages import Package


@dataclass(frozen=True)
class ReadGraph:
    """A graph with the form of its output and the tensor of its class activation maps."""

    graph: Graph
    form: OutputForm
    features: Features


def read_package_graph(package: Package, options: RuntimeOptions) -> ReadGraph:
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
    if output.features is None:
        features = chosen_features(graph, form.logits, spec)
    else:
        features = named_features(graph, output.features, form.logits, spec, options)
    return ReadGraph(channels_first(graph, features.name, spec), form, features)
