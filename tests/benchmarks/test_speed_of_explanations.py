"""Explanations against bare forward passes and against the reference implementations, in one run. `make bench`.

Nothing is asserted about time; the table is what is wanted, on two quiet cores within ten minutes. References run the
net that was exported, in torch, on as many threads as ONNX Runtime has; xaitk-saliency runs the same ONNX graph.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLift,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    LayerGradCam,
    Lime,
    NoiseTunnel,
    Occlusion,
    Saliency,
)

from benchmarks.bench import BIG, DEVICE, THREADS, Bench, big, bundled, xaitk_classifier
from benchmarks.side_by_side import device_name, side_by_side, start_of_run
from explain.references import reference
from whyray.explain import explain, explained_image
from whyray.explain.segments import superpixels
from whyray.quality import Budget, assess

pytestmark = pytest.mark.benchmark
ANSWERED = "the model's answer is known, but where the row says otherwise"
Ways = dict[str, Callable[[], object]]
CLASSIFIERS = [name for name in BIG if BIG[name].task != "segmentation"]


@pytest.fixture(scope="module", autouse=True)
def run_of_figures() -> None:
    start_of_run(device_name(DEVICE), THREADS)


@pytest.fixture(scope="module", params=CLASSIFIERS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return big(request.param, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return big("3-D U-Net", tmp_path_factory.mktemp("bench"))


def _table(bench: Bench, title: str, ways: Ways, note: str = "") -> None:
    side_by_side(f"{bench.name}: {title}", ways, device=DEVICE, note=note)


def _cam(bench: Bench, name: str, **options: object) -> Callable[[], object]:
    package = reference("pytorch_grad_cam")
    output = reference("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(bench.target)
    cam = getattr(package, name)(bench.net, [bench.net.last], **options)
    return lambda: cam(bench.torch_x, targets=[output])


def test_class_activation_maps(bench: Bench) -> None:
    captum = LayerGradCam(bench.net, bench.net.last)
    ways: Ways = {
        "bare ONNX Runtime inference": bench.bare(1, 1),
        "whyray grad-cam, all 14 targets": bench.ours("grad-cam", "all"),
        "pytorch-grad-cam GradCAM, 1 target": _cam(bench, "GradCAM"),
        "captum LayerGradCam, 1 target": lambda: captum.attribute(bench.torch_x, target=bench.target),
    }
    _table(bench, "Grad-CAM", ways)
    others = {
        "grad-cam-plus-plus": "GradCAMPlusPlus",
        "layer-cam": "LayerCAM",
        "hi-res-cam": "HiResCAM",
        "eigen-cam": "EigenCAM",
    }
    ways = {"bare ONNX Runtime inference": bench.bare(1, 1)}
    for ours, theirs in others.items():
        ways[f"whyray {ours}"] = bench.ours(ours)
        ways[f"pytorch-grad-cam {theirs}"] = _cam(bench, theirs)
    _table(bench, "other class activation maps, 1 target", ways)


def test_masks(bench: Bench) -> None:
    drawn = torch.rand(32, 1, 224, 224, device=DEVICE)

    def torch_rise() -> object:
        with torch.no_grad():
            p = torch.cat([bench.net(drawn[start : start + 8] * bench.torch_x) for start in range(0, 32, 8)])
        return p.T @ drawn.flatten(1)

    ways: Ways = {
        "32 bare forwards": bench.bare(32),
        "whyray rise, 32 masks": bench.ours("rise", masks=32),
        "whyray score-cam, 32 channels": bench.ours("score-cam", channels=32),
        "published RISE in torch, masks given": torch_rise,
    }
    if importlib.util.find_spec("xaitk_saliency") is not None:
        rise = reference("xaitk_saliency.impls.gen_image_classifier_blackbox_sal.rise").RISEStack(
            n=32, s=7, p1=0.5, seed=0
        )
        image, classifier = np.moveaxis(bench.x[0], 0, -1), xaitk_classifier(bench)
        ways["xaitk-saliency RISE, 32 masks, same ONNX session"] = lambda: rise.generate(image, classifier)
    _table(bench, "32 masked images", ways, f"batches of {bench.batch}")


def test_windows(bench: Bench) -> None:
    captum = Occlusion(bench.net)
    ways: Ways = {
        "49 bare forwards": bench.bare(49),
        "whyray occlusion": bench.ours("occlusion", window=32, stride=32, fill="zero"),
        "captum Occlusion": lambda: captum.attribute(
            bench.torch_x,
            (3, 32, 32),
            strides=(3, 32, 32),
            target=bench.target,
            perturbations_per_eval=bench.batch,
        ),
    }
    if importlib.util.find_spec("xaitk_saliency") is not None:
        sliding = reference("xaitk_saliency.impls.gen_image_classifier_blackbox_sal.slidingwindow").SlidingWindowStack(
            window_size=(32, 32), stride=(32, 32)
        )
        image, classifier = np.moveaxis(bench.x[0], 0, -1), xaitk_classifier(bench)
        ways["xaitk-saliency sliding window, same ONNX session"] = lambda: sliding.generate(image, classifier)
    _table(bench, "occlusion, 49 windows", ways, f"batches of {bench.batch}")


def test_superpixels(bench: Bench) -> None:
    segments = 12  # so few that 32 samples tell them apart
    labels = torch.from_numpy(superpixels(bench.x, segments, 0.1))[None, None].expand(1, 3, -1, -1).to(DEVICE)
    options: dict[str, Any] = {
        "feature_mask": labels,
        "target": bench.target,
        "n_samples": 32,
        "perturbations_per_eval": bench.batch,
    }
    shap, lime = KernelShap(bench.net), Lime(bench.net)
    ways: Ways = {
        "32 bare forwards": bench.bare(32),
        "whyray kernel-shap, 32 samples": bench.ours("kernel-shap", samples=32, segments=segments),
        "captum KernelShap, segments given": lambda: shap.attribute(bench.torch_x, **options),
        "whyray lime, 32 samples": bench.ours("lime", samples=32, segments=segments),
        "captum Lime, segments given": lambda: lime.attribute(bench.torch_x, **options),
    }
    _table(bench, "superpixels", ways, f"batches of {bench.batch}; whyray's time includes finding the segments")


def test_one_gradient(bench: Bench) -> None:
    x, target = bench.torch_x, bench.target
    saliency, product, guided = Saliency(bench.net), InputXGradient(bench.net), GuidedBackprop(bench.net)
    _table(
        bench,
        "gradients",
        {
            "bare ONNX Runtime inference": bench.bare(1, 1),
            "whyray gradient": bench.ours("gradient", answered=True),
            "whyray gradient and the answer": bench.ours("gradient"),
            "whyray gradient, compiled to ONNX": bench.compiled(),
            "captum Saliency": lambda: saliency.attribute(x, target=target),
            "whyray input-x-gradient": bench.ours("input-x-gradient", answered=True),
            "captum InputXGradient": lambda: product.attribute(x, target=target),
            "whyray guided-backprop": bench.ours("guided-backprop", answered=True),
            "captum GuidedBackprop": lambda: guided.attribute(x, target=target),
        },
        ANSWERED,
    )


def test_rules(bench: Bench) -> None:
    x, target = bench.torch_x, bench.target
    composites = reference("zennit.composites")
    canonizer = reference("zennit.canonizers").SequentialMergeBatchNorm
    # zennit merges a normalisation into whatever linear layer came before it, which in a DenseNet is another branch's
    canonizers = [] if bench.name.startswith("DenseNet") else [canonizer()]

    def zennit() -> object:
        with composites.EpsilonPlusFlat(canonizers=canonizers).context(bench.net) as changed:
            leaf = x.detach().requires_grad_(True)
            logits = changed(leaf)
            return torch.autograd.grad(logits[0, target], leaf)

    lift = DeepLift(bench.net)
    _table(
        bench,
        "rules",
        {
            "bare ONNX Runtime inference": bench.bare(1, 1),
            "whyray deep-lift": bench.ours("deep-lift", answered=True, tolerance=1e9),
            "captum DeepLift": lambda: lift.attribute(x, torch.zeros_like(x), target=target),
            "whyray lrp": bench.ours("lrp", answered=True, tolerance=1e9),
            "zennit EpsilonPlusFlat": zennit,
        },
        f"{ANSWERED}; zennit's sums are not conserved through residual additions here, whyray's are",
    )


def test_many_gradients(bench: Bench) -> None:
    x, target = bench.torch_x, bench.target
    integrated, noise = IntegratedGradients(bench.net), NoiseTunnel(Saliency(bench.net))
    step = bench.model.session.gradient_batch_size
    _table(
        bench,
        "16 gradients",
        {
            "16 bare forwards": bench.bare(16),
            "whyray integrated-gradients, 16 steps": bench.ours(
                "integrated-gradients", answered=True, steps=16, most_steps=16, tolerance=1e9
            ),
            "captum IntegratedGradients, 16 steps, with its delta": lambda: integrated.attribute(
                x, target=target, n_steps=16, internal_batch_size=step, return_convergence_delta=True
            ),
            "whyray smooth-grad, 16 samples": bench.ours("smooth-grad", answered=True, samples=16),
            "captum NoiseTunnel, 16 samples": lambda: noise.attribute(
                x, nt_type="smoothgrad", nt_samples=16, nt_samples_batch_size=step, stdevs=0.15, target=target
            ),
        },
        f"batches of {step}; {ANSWERED}",
    )


def test_the_card_of_a_classifier(bench: Bench) -> None:
    _card(bench, "hi-res-cam", 100)


def test_a_volume(unet: Bench) -> None:
    target = unet.model.targets[unet.target]
    package = reference("pytorch_grad_cam")
    segment = np.asarray(unet.model.logits(unet.x)[0].argmax(axis=0) == unet.target, np.float32)
    output = reference("pytorch_grad_cam.utils.model_targets").SemanticSegmentationTarget(unet.target, segment)
    cam = package.GradCAM(unet.net, [unet.net.last])
    _table(
        unet,
        "Grad-CAM of segments, 96 x 96 x 96",
        {
            "bare ONNX Runtime inference": unet.bare(1, 1),
            "whyray seg-grad-cam, all segments found": unet.ours("seg-grad-cam", "all"),
            "pytorch-grad-cam GradCAM, 1 segment": lambda: cam(unet.torch_x, targets=[output]),
        },
    )
    saliency = Saliency(lambda x: (unet.net(x)[:, unet.target] * torch.from_numpy(segment).to(x.device)).sum((1, 2, 3)))
    _table(
        unet,
        "gradient of a segment's score",
        {
            "bare ONNX Runtime inference": unet.bare(1, 1),
            "whyray gradient": unet.ours("gradient", target, answered=True),
            "whyray gradient, compiled to ONNX": unet.compiled(),
            "captum Saliency": lambda: saliency.attribute(unet.torch_x[:1]),
        },
        ANSWERED,
    )


def test_a_volume_perturbed(unet: Bench) -> None:
    def score(x: torch.Tensor) -> torch.Tensor:
        return unet.net(x)[:, unet.target].mean(dim=(1, 2, 3))

    captum = Occlusion(score)
    _table(
        unet,
        "8 windows, 8 masks",
        {
            "8 bare forwards": unet.bare(8),
            "whyray occlusion": unet.ours("occlusion", answered=True, window=48, stride=48, fill="zero"),
            "whyray rise": unet.ours("rise", answered=True, masks=8),
            "captum Occlusion": lambda: captum.attribute(
                unet.torch_x, (1, 48, 48, 48), strides=(1, 48, 48, 48), perturbations_per_eval=unet.batch
            ),
        },
        f"batches of {unet.batch}; {ANSWERED}",
    )


@pytest.mark.parametrize("name", ["cxr-findings@1", "head-ct-tissue"])
def test_bundled_packages(name: str) -> None:
    bench = bundled(name)
    segmentation = bench.model.task == "segmentation"
    explained = "seg-grad-cam" if segmentation else "grad-cam"
    maps = explain(bench.model, bench.x, target="all", method=explained)
    bench.target = bench.model.target_index(maps[0].target)  # no background
    count = 8 if segmentation else 32  # as many as head-ct-tissue has channels for score-cam
    _table(
        bench,
        "all targets",
        {
            "bare ONNX Runtime inference": bench.bare(1, 1),
            f"whyray {explained}, {len(maps)} targets": bench.ours(explained, "all"),
            "whyray gradient, 1 target, the answer known": bench.ours("gradient", answered=True),
            "whyray gradient, 1 target, compiled to ONNX": bench.compiled(),
        },
    )
    _table(
        bench,
        f"{count} masks",
        {
            f"{count} bare forwards": bench.bare(count),
            f"whyray rise, {count} masks": bench.ours("rise", answered=True, masks=count),
            f"whyray score-cam, {count} channels": bench.ours("score-cam", answered=True, channels=count),
        },
        f"batches of {bench.batch}; {ANSWERED}",
    )
    _card(bench, explained, Budget.for_model(bench.model).forwards)


def _card(bench: Bench, method: str, forwards: int) -> None:
    names = bench.model.targets[:2] if bench.net is not None else "all"
    maps = explain(bench.model, bench.x, target=names, method=method)
    maps = maps if len(maps) > 1 else maps * 2
    cost: dict[str, int] = {}

    held = [explained_image(bench.model, bench.x)]

    def card(which: int, name: str) -> Callable[[], object]:
        def run() -> object:
            if which == 0:
                held[0] = explained_image(bench.model, bench.x)
            before = bench.model.session.forwards
            made = assess(bench.model, held[0], maps[which])
            cost[name] = bench.model.session.forwards - before
            return made

        return run

    ways: Ways = {
        f"{forwards} bare forwards": bench.bare(forwards),
        "first card of an image": card(0, "first"),
        "each further card of the image": card(1, "further"),
    }
    for way in list(ways.values())[1:]:
        way()
    _table(
        bench,
        "quality card at its default budget",
        ways,
        f"{cost['first']} forward passes for the first card, {cost['further']} for each further one",
    )
