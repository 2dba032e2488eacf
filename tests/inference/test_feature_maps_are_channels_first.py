from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from explain.references import close
from inference import nets
from whyray.explain import explain
from whyray.inference import RuntimeOptions, load_package
from whyray.quality.randomisation import randomised

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


def test_tokens_with_channels_last_come_channels_first_and_the_answer_stays_the_same() -> None:
    net, x, model = nets.make("swin"), nets.image("swin"), nets.loaded("swin")
    taken: list[torch.Tensor] = []
    net.norm.register_forward_hook(lambda module, given, answer: taken.append(answer.detach()))
    expected = net(x).detach().numpy()
    run = model.session.run(x.numpy())
    assert run.features is not None
    close(run.features, taken[0].permute(0, 3, 1, 2).numpy())
    close(run.logits, expected)
    close(model.network.head_run(run.features), expected)
    assert model.network.head is not None
    assert model.network.head.kind == "pooled"


def test_a_tensor_that_the_manifest_names_is_turned_as_well(tmp_path: Path) -> None:
    name = nets.loaded("swin").network.features_name
    assert name is not None
    inner = name.removesuffix("__channels_first")
    output = {"name": "logits", "activation": "sigmoid", "features": inner}
    model = load_package(nets.pack(tmp_path, "swin", output=output), options=CPU)
    x = nets.image("swin").numpy()
    assert model.network.features_name == name
    close(model.session.run(x).features, nets.loaded("swin").session.run(x).features)


def test_randomised_copies_keep_the_layout() -> None:
    model, x = nets.loaded("swin"), nets.image("swin").numpy()
    for _, other in randomised(model, np.random.default_rng(0)):
        assert other.network.features_name == model.network.features_name
        assert explain(other, x, target="one", method="grad-cam").values.shape == (32, 32)


@pytest.mark.parametrize("name", [name for name in nets.KINDS if name not in ("swin", "vit")])
def test_channels_of_other_nets_stay_where_they_are(name: str) -> None:
    model = nets.loaded(name)
    assert not model.network.graph.stands_for
    features = model.network.features_name
    assert features is not None
    assert model.network.graph.shapes[features][1] in (8, 16, 20)
