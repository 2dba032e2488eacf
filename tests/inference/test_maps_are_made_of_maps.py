"""Which tensor class activation maps are made of: the last map of positions, and never tokens or a pooled vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from inference import nets
from whyray.base.errors import PackageError, TierMissing
from whyray.explain import explain, methods, why_not
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import check_package, checked_package

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


class ClassTokenViT(nn.Module):
    """A plain ViT with a class token, whose logits are read from that token alone (Dosovitskiy et al. 2021)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.ModuleList([Block(width) for _ in range(2)])
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], dim=1) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.linear(self.norm(tokens)[:, 0])


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(self.first(tokens)).chunk(3, dim=-1)
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(dim=-1)
        tokens = tokens + self.mix(weights @ v)
        return tokens + self.mlp(self.second(tokens))


class Mixer(nn.Module):
    """Tokens that linear layers across positions mix, without attention (Tolstikhin et al. 2021)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 8, stride=8)
        self.norm, self.across, self.along = nn.LayerNorm(width), nn.Linear(16, 16), nn.Linear(width, width)
        self.linear = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.across(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        tokens = tokens + torch.relu(self.along(tokens))
        return self.linear(tokens.mean(dim=1))


class FlatSwin(nn.Module):
    """Windows of attention on tokens (N, L, C) that become a grid only within each block (Liu et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, stride=4)
        self.merge = nn.Linear(32, 12)
        self.first, self.second = Block(8), Block(12)
        self.norm, self.linear = nn.LayerNorm(12), nn.Linear(12, 3)

    @staticmethod
    def windows(block: nn.Module, tokens: Tensor, grid: int, size: int) -> Tensor:
        channels = tokens.shape[-1]
        cut = tokens.reshape(-1, grid // size, size, grid // size, size, channels).permute(0, 1, 3, 2, 4, 5)
        answer = block(cut.reshape(-1, size * size, channels))
        whole = answer.reshape(-1, grid // size, grid // size, size, size, channels).permute(0, 1, 3, 2, 4, 5)
        return tokens + whole.reshape(-1, grid * grid, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.windows(self.first, self.patches(x).flatten(2).transpose(1, 2), 8, 4)
        grid = tokens.reshape(-1, 8, 8, 8)
        four = [grid[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        tokens = self.merge(torch.cat(four, dim=-1).reshape(-1, 16, 32))
        tokens = self.windows(self.second, tokens, 4, 2)
        return self.linear(self.norm(tokens).transpose(1, 2).mean(dim=2))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Convolutions, layer norms over channels, and a norm of the pooled vector before the linear layer."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 4, stride=4), LayerNorm2d(width))
        self.deep, self.norm = nn.Conv2d(width, width, 3, padding=1, groups=width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head_norm, self.linear = LayerNorm2d(width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stem(x)
        maps = maps + self.mlp(self.norm(self.deep(maps).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return self.linear(self.head_norm(maps.mean(dim=(2, 3), keepdim=True)).flatten(1))


class LatentQuery(nn.Module):
    """Attention of one learned query over the last maps instead of pooling, with several heads."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 16, 3, stride=4, padding=1), nn.ReLU())
        self.query = nn.Parameter(torch.randn(1, 2, 1, 8))
        self.keys, self.values, self.linear = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        places = self.maps(x).flatten(2).transpose(1, 2)
        k, v = (projection(places).reshape(-1, 64, 2, 8).transpose(1, 2) for projection in (self.keys, self.values))
        picked = (self.query @ k.transpose(2, 3)).softmax(dim=-1) @ v
        return self.linear(picked.transpose(1, 2).flatten(1))


class GatedPooling(nn.Module):
    """Attention pooling of maps: one weight a place (Ilse et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 16, 3, stride=4, padding=1), nn.ReLU())
        self.weigh = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1))
        self.linear = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        places = self.maps(x).flatten(2).transpose(1, 2)
        return self.linear((self.weigh(places).softmax(dim=1) * places).sum(dim=1))


class Anisotropic(nn.Module):
    """A volume whose slices are kept while rows and columns shrink."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv3d(1, 6, 3, stride=(1, 4, 4), padding=1), nn.ReLU())
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.maps(x).mean(dim=(2, 3, 4)))


class PerTarget(nn.Module):
    """Two answers a target behind a pooled vector: (N, targets, 2), of which the difference counts."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 16, 3, stride=4, padding=1), nn.ReLU())
        self.linear = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        both = self.linear(self.maps(x).mean(dim=(2, 3))).reshape(-1, 3, 2)
        return both[..., 1] - both[..., 0]


def packed(tmp_path: Path, net: nn.Module, name: str = "plain", **changes: object) -> Path:
    torch.manual_seed(0)
    return nets.pack(tmp_path, name, net.eval(), **changes)


def loaded(tmp_path: Path, net: nn.Module, name: str = "plain", **changes: object) -> Model:
    return load_package(packed(tmp_path, net, name, **changes), options=CPU)


def tensor_of(folder: Path, operator: str, which: int = -1) -> str:
    """The output of a node of that operator in the package's graph."""
    outputs = [node.output[0] for node in onnx.load(folder / "model.onnx").graph.node if node.op_type == operator]
    return str(outputs[which])


@pytest.mark.parametrize("make", [ClassTokenViT, Mixer, FlatSwin, nets.TinyViT])
def test_what_lies_before_layers_of_tokens_is_never_chosen(tmp_path: Path, make: type[nn.Module]) -> None:
    model, x = loaded(tmp_path, make()), nets.image("plain").numpy()
    assert model.network.features_name is None
    with pytest.raises(TierMissing, match=r"needs feature maps \(T1\).*come layers of tokens.*no maps") as refused:
        explain(model, x, target="one", method="grad-cam")
    assert "occlusion" in refused.value.advice
    refused_by_name = {
        method.name for method in methods() if method.tier == "T1" and why_not(method, model) is not None
    }
    assert {"grad-cam", "eigen-cam", "layer-cam", "score-cam", "ablation-cam"} <= refused_by_name
    assert explain(model, x, target="one", method="occlusion", window=8, stride=8).values.shape == (32, 32)


def test_gradients_are_none_the_worse_for_tokens(tmp_path: Path) -> None:
    model, x = loaded(tmp_path, ClassTokenViT()), nets.image("plain").numpy()
    assert model.gradients.measured_tier() == "T2"
    assert explain(model, x, target="one", method="gradient").values.shape == (32, 32)


def test_a_grid_of_tokens_is_a_map(tmp_path: Path) -> None:
    model = load_package(nets.pack(tmp_path, "swin"), options=CPU)
    assert model.network.features_name is not None
    assert model.network.graph.shapes[model.network.features_name] == (1, 12, 4, 4)


def test_the_norm_of_a_pooled_vector_is_no_map(tmp_path: Path) -> None:
    model, x = loaded(tmp_path, ConvNeXt()), nets.image("plain").numpy()
    assert model.network.features_name is not None
    assert model.network.graph.shapes[model.network.features_name] == (1, 16, 8, 8)
    run = model.session.run(x)
    assert run.features is not None
    assert run.features.shape == (1, 16, 8, 8)
    assert explain(model, x, target="one", method="grad-cam").layer == model.network.features_name


@pytest.mark.parametrize("make", [LatentQuery, GatedPooling])
def test_maps_that_attention_pools_are_taken_where_they_are_named(tmp_path: Path, make: type[nn.Module]) -> None:
    folder = packed(tmp_path, make())
    assert load_package(folder, options=CPU).network.features_name is None
    maps = tensor_of(folder, "Relu", 0)
    model, x = loaded(tmp_path, make(), output__features=maps), nets.image("plain").numpy()
    assert model.network.features_name == maps
    assert explain(model, x, target="one", method="grad-cam").values.shape == (32, 32)


def test_two_answers_a_target_behind_a_pooled_vector_are_no_tokens(tmp_path: Path) -> None:
    model, x = loaded(tmp_path, PerTarget()), nets.image("plain").numpy()
    assert model.network.features_name is not None
    assert model.network.graph.shapes[model.network.features_name] == (1, 16, 8, 8)
    assert explain(model, x, target="one", method="grad-cam").values.shape == (32, 32)


def test_maps_of_a_volume_may_shrink_unevenly(tmp_path: Path) -> None:
    model = loaded(tmp_path, Anisotropic(), "plain-3d")
    assert model.network.features_name is not None
    assert model.network.graph.shapes[model.network.features_name] == (1, 6, 8, 3, 4)


def test_tokens_named_as_features_are_refused_by_name_and_shape(tmp_path: Path) -> None:
    folder = packed(tmp_path, ClassTokenViT())
    tokens = tensor_of(folder, "LayerNormalization")
    folder = packed(tmp_path, ClassTokenViT(), output__features=tokens)
    with pytest.raises(
        PackageError, match=r"tokens or another tensor of shape \(N, 17, 16\); expected a map"
    ) as refused:
        load_package(folder, options=CPU).predict(nets.image("plain").numpy())
    assert tokens in refused.value.message
    assert "Leave output.features out" in refused.value.advice
    (error,) = (finding for finding in check_package(folder) if finding.severity == "error")
    assert error.message == refused.value.message


@pytest.mark.parametrize(
    ("operator", "which", "words"),
    [("Relu", 0, None), ("ReduceMean", -1, r"a vector of shape \(N, 16\)"), ("Softmax", 0, "tokens or another tensor")],
)
def test_what_is_named_must_be_a_map(tmp_path: Path, operator: str, which: int, words: str | None) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Sequential(nn.Conv2d(1, 16, 3, stride=4, padding=1), nn.ReLU())
            self.linear = nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.maps(x)
            places = maps.flatten(2).softmax(dim=2).reshape(-1, 16, 8, 8) * maps
            return self.linear(places.mean(dim=(2, 3)))

    name = tensor_of(packed(tmp_path, Net()), operator, which)
    folder = packed(tmp_path, Net(), output__features=name)
    if words is None:
        assert load_package(folder, options=CPU).network.features_name == name
        return
    with pytest.raises(PackageError, match=words) as refused:
        load_package(folder, options=CPU).predict(nets.image("plain").numpy())
    assert "is then taken" in refused.value.advice


def test_weights_named_as_features_are_refused(tmp_path: Path) -> None:
    folder = packed(tmp_path, ConvNeXt())
    proto = onnx.load(folder / "model.onnx")
    kernel = next(initializer for initializer in proto.graph.initializer if len(initializer.dims) == 4)
    (user,) = (node for node in proto.graph.node if kernel.name in node.input)
    proto.graph.node.insert(0, onnx.helper.make_node("Identity", [kernel.name], ["kernel as it is"]))
    user.input[list(user.input).index(kernel.name)] = "kernel as it is"
    folder = nets.write_manifest(folder, nets.manifest("plain", output__features="kernel as it is"))
    onnx.save(proto, folder / "model.onnx")
    with pytest.raises(PackageError, match="does not depend on the image"):
        load_package(folder, options=CPU).predict(nets.image("plain").numpy())


def test_a_patch_embedding_that_is_named_is_taken_with_a_warning(tmp_path: Path) -> None:
    patches = tensor_of(packed(tmp_path, ClassTokenViT()), "Conv")
    folder = packed(tmp_path, ClassTokenViT(), output__features=patches)
    assert load_package(folder, options=CPU).network.features_name == patches
    checked = checked_package(folder)
    assert any("layers of tokens" in finding.message and finding.severity == "warning" for finding in checked.findings)
    assert (
        checked.explained[-1] == f"class activation maps: of {patches!r} (named in model.yaml), grid 4 × 4, 16 channels"
    )


def test_the_check_says_that_there_are_no_maps_and_never_advises_itself(tmp_path: Path) -> None:
    checked = checked_package(packed(tmp_path, ClassTokenViT()))
    assert checked.explained[-1] == "class activation maps: none"
    (said,) = (finding for finding in checked.findings if "class activation maps" in finding.message)
    assert "layers of tokens" in said.message
    assert "occlusion" in said.advice


BROKEN = {
    "no graph": lambda folder: (folder / "model.onnx").write_bytes(b"not a graph"),
    "graph missing": lambda folder: (folder / "model.onnx").unlink(),
    "manifest broken": lambda folder: (folder / "model.yaml").write_text("name: [unclosed"),
    "other output": lambda folder: nets.write_manifest(folder, nets.manifest("plain", output__name="other")),
    "other input": lambda folder: nets.write_manifest(folder, nets.manifest("plain", input__name="other")),
    "other shape": lambda folder: nets.write_manifest(folder, nets.manifest("plain", input__channels=2)),
    "other targets": lambda folder: nets.write_manifest(folder, nets.manifest("plain", targets=[{"name": "one"}])),
    "other embedding": lambda folder: nets.write_manifest(folder, nets.manifest("plain", output__embedding="other")),
    "in order": lambda folder: None,
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_says_what_to_do_and_never_to_check(tmp_path: Path, name: str) -> None:
    folder = nets.pack(tmp_path, "plain")
    BROKEN[name](folder)
    findings = check_package(folder)
    assert (name == "in order") != any(finding.severity == "error" for finding in findings)
    for finding in findings:
        assert finding.advice
        assert "package check" not in finding.advice
        assert "whyray explain" not in finding.advice


def test_a_later_map_is_no_token(tmp_path: Path) -> None:
    class Coarse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Sequential(nn.Conv2d(1, 16, 3, stride=4, padding=1), nn.ReLU())
            self.head = nn.Conv2d(16, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.interpolate(self.head(self.maps(x)), scale_factor=4.0, mode="bilinear")

    maps = tensor_of(packed(tmp_path, Coarse(), "unet"), "Relu", 0)
    folder = packed(tmp_path, Coarse(), "unet", output__features=maps)
    checked = checked_package(folder)
    assert not any("tokens" in finding.message or "probabilities" in finding.message for finding in checked.findings)
    model = load_package(folder, options=CPU)
    assert model.network.features_name == maps
    assert not model.network.form.unclear


def test_maps_that_are_flattened_before_they_are_pooled_are_no_tokens(tmp_path: Path) -> None:
    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Sequential(nn.Conv2d(1, 16, 3, stride=4, padding=1), nn.ReLU())
            self.similar, self.linear = nn.Conv2d(16, 6, 1), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.similar(self.maps(x)).flatten(2).amax(dim=2))

    folder = packed(tmp_path, Prototypes())
    chosen, earlier = tensor_of(folder, "Conv"), tensor_of(folder, "Relu", 0)
    assert load_package(folder, options=CPU).network.features_name == chosen
    named = packed(tmp_path, Prototypes(), output__features=earlier)
    assert load_package(named, options=CPU).network.features_name == earlier
    assert not any("tokens" in finding.message for finding in check_package(named))


class ClassifierAndSegmenter(nn.Module):
    """An encoder whose last maps are pooled for an answer, and a decoder with a skip from its first block."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.MaxPool2d(4), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.up, self.segments = nn.ConvTranspose2d(8, 6, 4, stride=4), nn.Conv2d(12, 3, 1)
        self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        high = self.first(x)
        low = self.second(high)
        logits = self.linear(low.amax(dim=(2, 3)))
        return logits, self.segments(torch.cat([self.up(low), high], dim=1))


class SizeOfEarlierMaps(nn.Module):
    """The batch's size is read off the first maps where the pooled vector is brought into its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.MaxPool2d(4), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        high = self.first(x)
        pooled = nn.functional.adaptive_avg_pool2d(self.second(high), 1)
        return self.linear(pooled.view(high.size(0), -1))


class SizeBeforeActivation(nn.Module):
    """The batch's size is read off the maps just before the last activation, as older code of DenseNet has it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Conv2d(6, 8, 3, padding=1)),
            *(nn.ReLU(), nn.BatchNorm2d(8)),
        )
        self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.body(x)
        return self.pooled(maps, self.last(maps))

    def last(self, maps: Tensor) -> Tensor:
        return nn.functional.relu(maps)

    def pooled(self, maps: Tensor, last: Tensor) -> Tensor:
        return self.linear(nn.functional.adaptive_avg_pool2d(last, 1).view(maps.size(0), -1))


class SizeBeforeGate(SizeBeforeActivation):
    """The last activation is a swish: a product of two tensors, each cell by itself."""

    def last(self, maps: Tensor) -> Tensor:
        return maps * maps.sigmoid() + 0.5


class SizeBeforeSmoothing(SizeBeforeActivation):
    """Between the maps that sizes are read off and the last ones neighbours are mixed."""

    def last(self, maps: Tensor) -> Tensor:
        return nn.functional.relu(nn.functional.avg_pool2d(maps, 3, stride=1, padding=1))


class SizeBeforeChannelGate(SizeBeforeActivation):
    """Between them each channel is weighted by its mean over all places."""

    def last(self, maps: Tensor) -> Tensor:
        return maps * nn.functional.adaptive_avg_pool2d(maps, 1).sigmoid()


@pytest.mark.parametrize("modern", [False, True])
def test_maps_that_another_output_reads_are_not_those_of_the_answer(tmp_path: Path, modern: bool) -> None:
    torch.manual_seed(0)
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", nets.manifest("plain"))
    torch.onnx.export(
        ClassifierAndSegmenter().eval(),
        (nets.image("plain"),),
        folder / "model.onnx",
        dynamo=modern,
        input_names=["x"],
        output_names=["logits", "segments"],
        **({"external_data": False, "verbose": False} if modern else {}),
    )
    model = load_package(folder, options=CPU)
    features = model.session.run(nets.image("plain").numpy()).features
    assert features is not None
    assert features.shape == (1, 8, 8, 8)


def test_maps_whose_size_is_read_last_are_not_taken_for_the_last_maps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = nets.pack(tmp_path, "plain", SizeOfEarlierMaps().eval())
    assert load_package(folder, options=CPU).network.features_name is None
    assert any(r"export it with flatten(1)" in finding.message for finding in check_package(folder, CPU))
    fixed = nets.pack(tmp_path / "fixed", "plain", SizeOfEarlierMaps().eval(), dynamic=False)
    features = load_package(fixed, options=CPU).session.run(nets.image("plain").numpy()).features
    assert features is not None
    assert features.shape == (1, 8, 8, 8)
    earlier = f"output.features: {tensor_of(folder, 'Relu', 0)}"
    assert any(earlier in finding.message for finding in check_package(folder, CPU))


@pytest.mark.parametrize("make", [SizeBeforeActivation, SizeBeforeGate])
def test_maps_whose_size_is_read_before_the_last_activation_are_taken_there(
    tmp_path: Path, make: type[SizeBeforeActivation]
) -> None:
    torch.manual_seed(0)
    net, x = make().eval(), nets.image("plain")
    folder = nets.pack(tmp_path, "plain", net)
    model = load_package(folder, options=CPU)
    assert model.network.features_name == tensor_of(folder, "BatchNormalization")
    heatmap = explain(model, x.numpy(), target="one", method="hi-res-cam")
    assert heatmap.layer == model.network.features_name
    features, maps = model.session.run(x.numpy()).features, net.body(x).detach().requires_grad_(True)
    assert features is not None
    assert np.allclose(features, maps.detach().numpy(), atol=1e-5)
    net.pooled(maps, net.last(maps))[0, 0].backward()
    slopes = model.gradients.head(features, model.logits(x.numpy()), [0])[0]
    assert np.allclose(slopes[0], maps.grad[0].numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("make", [SizeBeforeSmoothing, SizeBeforeChannelGate])
def test_maps_that_pooling_parts_from_the_last_ones_are_named_and_not_taken(
    tmp_path: Path, make: type[SizeBeforeActivation]
) -> None:
    folder = packed(tmp_path, make())
    network, earlier = load_package(folder, options=CPU).network, tensor_of(folder, "BatchNormalization")
    assert network.features_name is None
    assert f"output.features: {earlier}" in network.features.reason
    named = packed(tmp_path, make(), output__features=earlier)
    assert load_package(named, options=CPU).network.features_name == earlier
