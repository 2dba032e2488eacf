"""Onboarding: what a package can give and how well, measured once on given images and written into the package."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.errors import ExplanationError, ModelOutputError, PackageError, TierMissing
from whyray.explain import Heatmap, Progress, explain, explainable, methods, why_not
from whyray.models import Model
from whyray.quality.assess import assess
from whyray.quality.budget import Budget
from whyray.quality.onboarding_page import page, picture
from whyray.quality.randomisation import alike, random_pair_similarity, randomised

FloatArray = NDArray[np.float32]
QUICK: Mapping[str, Mapping[str, Any]] = {
    "rise": {"masks": 256},
    "lime": {"samples": 256},
    "kernel-shap": {"samples": 256},
    "score-cam": {"channels": 32},
    "smooth-grad": {"samples": 16},
    "occlusion": {},
}
"""Parameters that bound a method's cost here; the report names them."""
_REFUSALS = (ExplanationError, TierMissing, ModelOutputError)
SANITY_IMAGES = 4


def onboard(
    model: Model,
    images: Sequence[FloatArray],
    *,
    only: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure tier, parity, batch, time and the maps' quality of a package; write and return the report.

    `images` are model inputs in the layout of the manifest, (1, ...) each; one at least, more say more. `only` names
    methods; empty takes all. Writes `onboarding/report.json`, `report.html` and pictures into the package's folder.
    Raises PackageError where the package does not run, or no image is given.
    """
    if not images:
        raise PackageError(f"{model.identity}: onboarding needs an image", advice="Name a folder with --images.")
    chosen = [each for each in methods() if not only or each.name in only]
    folder = model.package.report.parent
    folder.mkdir(exist_ok=True)
    model.package.report.unlink(missing_ok=True)  # an earlier report would be believed, or refused, meanwhile
    report = _about(model, images)
    report["methods"] = {}
    for number, method in enumerate(chosen):
        if progress is not None:
            progress(number, len(chosen), method.name)
        refusal = why_not(method, model)
        entry = (
            {"refused": refusal.message} if refusal is not None else _method(model, method.name, images, seed, folder)
        )
        report["methods"][method.name] = {"tier": method.tier, "deliverable": method.deliverable, **entry}
    if progress is not None:
        progress(len(chosen), len(chosen), "done")
    (folder / "report.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(report), encoding="utf-8")
    return report


def _about(model: Model, images: Sequence[FloatArray]) -> dict[str, Any]:
    x = model.channels_first(images[0])
    varied = np.concatenate([x, x * 0.5, np.flip(x, axis=-1)])
    started = time.perf_counter()
    for _ in range(3):
        model.forget()
        model.run(x)
    seconds = (time.perf_counter() - started) / 3
    head = model.head
    return {
        "package": model.manifest.name,
        "version": model.manifest.version,
        "digest": model.digest,
        "tier": model.measured_tier(),
        "why not higher": model.tier_reason,
        "explained tensor": model.logits_name,
        "activation": model.activation,
        "features": model.features_name,
        "features shape": [int(size) for size in run.shape[1:]] if (run := model.run(x).features) is not None else None,
        "head": "none in closed form" if head is None else head.kind,
        "several items in one pass": model.batchable(varied),
        "providers": list(model.providers),
        "images": len(images),
        "seconds for one forward pass": round(seconds, 5),
    }


def _method(model: Model, name: str, images: Sequence[FloatArray], seed: int, folder: Path) -> dict[str, Any]:
    parameters = {**QUICK.get(name, {}), **model.manifest.methods.get(name, {})}
    maps: list[Heatmap] = []
    grades: dict[str, int] = {"green": 0, "amber": 0, "red": 0}
    spent: list[float] = []
    cost: list[int] = []
    refusals: list[str] = []
    explained: list[FloatArray] = []
    for x in images:
        model.forget()
        target = _strongest(model, x)
        before, started = model.forwards, time.perf_counter()
        try:
            heatmap = explain(model, x, target=target, method=name, **parameters)
        except _REFUSALS as error:
            refusals.append(error.message)
            continue
        spent.append(time.perf_counter() - started)
        cost.append(model.forwards - before)
        maps.append(heatmap)
        explained.append(x)
        grades[assess(model, x, heatmap, budget=Budget(repeats=False), seed=seed).grade.value] += 1
    if not maps:
        return {"refused": refusals[0]}
    (folder / f"{name}.png").write_bytes(picture(model.channels_first(explained[0]), maps[0]))
    return {
        "parameters": dict(maps[0].parameters),
        "seconds": round(float(np.median(spent)), 5),
        "forward passes": int(np.median(cost)),
        "grades": grades,
        "refusals": refusals,
        "sanity": _sanity(model, name, explained, maps, parameters, seed),
    }


def _sanity(
    model: Model,
    name: str,
    images: Sequence[FloatArray],
    maps: Sequence[Heatmap],
    parameters: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    unrelated = random_pair_similarity([each.values for each in maps], rng)
    stages: dict[str, float | None] = {}
    for stage, changed in randomised(model, rng):
        found = []
        for x, heatmap in list(zip(images, maps, strict=True))[:SANITY_IMAGES]:
            try:
                again = explain(changed, x, target=heatmap.target, method=name, **parameters)
            except _REFUSALS:
                continue
            found.append(alike(heatmap.values, again.values))
        stages[stage] = round(float(np.mean(found)), 4) if found else None
    last = next((each for each in reversed(stages.values()) if each is not None), None)
    return {
        "SSIM by share of weights randomised": stages,
        "SSIM of unrelated maps": round(unrelated, 4),
        "passed": last is not None and last <= unrelated,
        "rule": "the last SSIM is at most that of unrelated maps (Adebayo et al. 2018; Arun et al. 2021)",
    }


def _strongest(model: Model, x: FloatArray) -> str:
    image = model.channels_first(x)
    logits = model.run(image).logits
    answer = model.answer(logits)[0].reshape(len(model.targets), -1).mean(axis=1)
    return max(explainable(model, image), key=lambda name: answer[model.target_index(name)])
