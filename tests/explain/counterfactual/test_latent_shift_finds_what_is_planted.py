"""latent-shift on linear decoders and classifiers, where the smallest shift is known, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from planted_counterfactuals import TARGETS, THRESHOLD, Pair, linear_pair
from whyray.base.errors import ArtefactMissing, Cancelled, ExplanationError, PackageError
from whyray.explain import Case, Context, Counterfactual, as_input, explain, method_named, why_not
from whyray.explain.counterfactual import LatentSpace, latent_gradient, traverse
from whyray.explain.counterfactual.refine import refined
from whyray.inference import Model, RuntimeOptions, load_package


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return linear_pair(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def model(pair: Pair) -> Model:
    return loaded(pair)


def loaded(pair: Pair) -> Model:
    return load_package(pair.folder, search=[pair.folder.parents[1]], options=RuntimeOptions(intra_op_threads=1))


def picture(pair: Pair, seed: int) -> np.ndarray:
    """(1, 1, size, size) that the autoencoder can give back exactly."""
    z = np.random.default_rng(seed).normal(size=pair.decoder.shape[1])
    return (0.5 + pair.decoder @ z).reshape(1, 1, pair.small, pair.small).astype(np.float32)


def shifted(model: Model, x: np.ndarray, target: str, **parameters: object) -> Counterfactual:
    explanation = explain(model, x, target=target, method="latent-shift", **parameters)
    assert isinstance(explanation, Counterfactual)
    return explanation


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("target", TARGETS)
def test_the_shift_is_the_smallest_that_crosses_the_threshold(pair: Pair, model: Model, target: str, seed: int) -> None:
    x = picture(pair, seed)
    told = shifted(model, x, target, refine=0, reach=8.0)
    z = np.linalg.pinv(pair.decoder) @ (x.ravel() - 0.5)
    gradient = pair.decoder.T @ pair.weights[TARGETS.index(target)]
    logit = pair.weights[TARGETS.index(target)] @ (x.ravel() - 0.5) + pair.bias[TARGETS.index(target)]
    missing = np.log(THRESHOLD / (1 - THRESHOLD)) - logit
    smallest = abs(missing) / np.linalg.norm(gradient) / np.linalg.norm(z)
    assert told.flipped
    assert (told.answers[told.start] >= THRESHOLD) != (told.answers[told.end] >= THRESHOLD)
    assert smallest * 0.999 <= told.evidence["shift"] <= smallest * 1.2 + 8.0 / 1024
    moved = np.sign(missing) * told.evidence["shift"] * np.linalg.norm(z) * gradient / np.linalg.norm(gradient)
    np.testing.assert_allclose(told.difference.ravel(), pair.decoder @ moved, atol=1e-4)
    assert told.evidence["reconstruction_gap"] < 1e-5
    assert told.evidence["added_answer"] == pytest.approx(told.answers[told.end], abs=1e-4)


def test_answers_above_the_threshold_fall_and_answers_below_it_rise(pair: Pair, model: Model) -> None:
    rising, falling = 0, 0
    for seed in range(6):
        told = shifted(model, picture(pair, seed), "one", refine=0, reach=8.0)
        answers = np.array(told.answers)
        if told.answer_before >= THRESHOLD:
            falling += 1
            assert (np.diff(answers) < 0).all()
        else:
            rising += 1
            assert (np.diff(answers) > 0).all()
    assert rising
    assert falling


def test_frames_go_from_the_confirmed_answer_over_the_image_to_the_flipped_one(pair: Pair, model: Model) -> None:
    x = picture(pair, 1)
    told = shifted(model, x, "one", refine=0, reach=8.0, frames=8)
    assert len(told.frames) == len(told.answers) == 8
    assert (told.start, told.end) == (3, 6)
    assert told.synthetic
    np.testing.assert_allclose(told.frames[told.start], x[0, 0], atol=1e-4)
    np.testing.assert_allclose(told.frames[told.end] - told.frames[told.start], told.difference)
    assert [part.name for part in told.maps] == ["difference"]


def test_several_targets_are_told_apart_from_one_encoding(pair: Pair, model: Model) -> None:
    both = explain(model, picture(pair, 2), target="all", method="latent-shift", refine=0, reach=8.0)
    assert [explanation.target for explanation in both] == list(TARGETS)
    alone = shifted(model, picture(pair, 2), "two", refine=0, reach=8.0)
    np.testing.assert_array_equal(both[1].frames, alone.frames)


def test_what_is_told_of_a_target_is_the_same_whatever_else_is_explained(tmp_path: Path) -> None:
    pair = linear_pair(tmp_path, off=1.0)
    model = loaded(pair)
    both = explain(model, picture(pair, 2), target="all", method="latent-shift")
    for told in both:
        assert isinstance(told, Counterfactual)
        np.testing.assert_array_equal(told.frames, shifted(model, picture(pair, 2), told.target).frames)


def test_rounding_does_not_move_latents_that_nothing_hangs_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums come out otherwise in the last bits on other machines; what is told does not."""
    pair = linear_pair(tmp_path, off=1.0)
    model = loaded(pair)
    case = Case(model, model.network.checked_input(picture(pair, 2)), [0])
    space = LatentSpace(model, method="latent-shift")
    latents, right = space.encode(case.display[None]), LatentSpace.pulled_back

    def refined_with(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)

        def rounded(self: LatentSpace, z: np.ndarray, gradients: np.ndarray) -> np.ndarray:
            slope = right(self, z, gradients)
            slope[:, 3:] = 0
            return slope + 1e-7 * np.abs(slope).max() * rng.normal(size=slope.shape)

        monkeypatch.setattr(LatentSpace, "pulled_back", rounded)
        return refined(case, space, latents, 16, "latent-shift").latents

    first, second = refined_with(1), refined_with(2)
    assert np.abs(first - latents)[:, :3].max() > 0.1
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_the_gradient_through_another_grid_is_that_of_autograd(tmp_path: Path) -> None:
    pair = linear_pair(tmp_path, size=28, small=16)
    model = loaded(pair)
    space = LatentSpace(model, method="latent-shift")
    case = Case(model, model.network.checked_input(np.full((1, 1, 28, 28), 0.4, np.float32)), [1])
    z = np.random.default_rng(3).normal(size=(1, 6)).astype(np.float32)
    gradient, _ = latent_gradient(case, space, z, space.decode(z), "latent-shift")
    leaf = torch.from_numpy(z).requires_grad_(True)
    small = (leaf @ torch.from_numpy(pair.decoder.T.astype(np.float32)) + 0.5).reshape(1, 1, 16, 16)
    whole = functional.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    score = whole.flatten() @ torch.from_numpy(pair.weights[1].astype(np.float32))
    np.testing.assert_allclose(gradient, torch.autograd.grad(score, leaf)[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(space.decode(z)[0], whole[0, 0].detach().numpy(), atol=1e-5)


def test_a_model_that_sees_less_than_its_autoencoder_gets_the_gradient_of_what_it_sees(tmp_path: Path) -> None:
    pair = linear_pair(tmp_path, size=12, small=24)
    model = loaded(pair)
    space = LatentSpace(model, method="latent-shift")
    case = Case(model, model.network.checked_input(np.full((1, 1, 12, 12), 0.4, np.float32)), [0])
    z = np.random.default_rng(4).normal(size=(1, 6)).astype(np.float32)
    gradient, _ = latent_gradient(case, space, z, space.decode(z), "latent-shift")
    step = np.eye(6, dtype=np.float32) * 0.05
    pictures = space.decode(np.concatenate([z + step, z - step]))
    logits = model.session.logits(as_input(pictures, model.manifest.input))[:, 0]
    np.testing.assert_allclose(gradient[0], (logits[:6] - logits[6:]) / 0.1, atol=1e-3)


def test_what_descent_knows_of_its_best_step_is_the_gradient_there(pair: Pair, model: Model) -> None:
    case = Case(model, model.network.checked_input(picture(pair, 2)), [0])
    space = LatentSpace(model, method="latent-shift")
    refinement = refined(case, space, space.encode(case.display[None]), 5, "latent-shift")
    np.testing.assert_array_equal(refinement.shown, space.decode(refinement.latents))
    assert refinement.known is not None
    anew = latent_gradient(case, space, refinement.latents, refinement.shown, "latent-shift")
    known = latent_gradient(case, space, refinement.latents, refinement.shown, "latent-shift", known=refinement.known)
    for one, other in zip(known, anew, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_out_of_reach_is_told_as_not_flipped_at_the_nearest(pair: Pair, model: Model) -> None:
    told = shifted(model, picture(pair, 0), "one", refine=0, reach=1e-3)
    assert not told.flipped
    assert told.evidence["shift"] == pytest.approx(1e-3)
    assert abs(told.answers[told.end] - THRESHOLD) < abs(told.answers[told.start] - THRESHOLD)


def test_refinement_brings_back_what_a_bad_encoder_loses(tmp_path: Path) -> None:
    pair = linear_pair(tmp_path, off=2.0)
    model = loaded(pair)
    x = picture(pair, 1)
    without, with_it = (shifted(model, x, "one", refine=steps) for steps in (0, 40))
    assert without.evidence["reconstruction_gap"] > 0.02
    assert with_it.evidence["reconstruction_gap"] < 0.2 * without.evidence["reconstruction_gap"]
    assert with_it.evidence["encoder_gap"] == pytest.approx(without.evidence["reconstruction_gap"], abs=1e-6)
    before, after = (
        np.abs(explanation.frames[explanation.start] - x[0, 0]).mean() for explanation in (without, with_it)
    )
    assert after < before


def test_the_same_image_gives_the_same_frames(pair: Pair, model: Model) -> None:
    first = shifted(model, picture(pair, 5), "one")
    np.testing.assert_array_equal(first.frames, shifted(model, picture(pair, 5), "one").frames)


def test_a_model_without_an_autoencoder_is_refused_by_name_before_anything_runs(pair: Pair, tmp_path: Path) -> None:
    alone = tmp_path / "planted-linear" / "1.0.0"
    alone.mkdir(parents=True)
    for path in pair.folder.iterdir():
        (alone / path.name).write_bytes(path.read_bytes())
    text = (alone / "model.yaml").read_text()
    (alone / "model.yaml").write_text(text.replace("companions:\n  autoencoder: planted-autoencoder@1\n", ""))
    lonely = load_package(alone, search=[pair.folder.parents[1]])
    refusal = why_not(method_named("latent-shift"), lonely)
    assert isinstance(refusal, ArtefactMissing)
    assert "latent-shift" in refusal.message
    assert "autoencoder" in refusal.message
    assert "cxr_autoencoder" in refusal.advice
    told = shifted(lonely, picture(pair, 1), "one", autoencoder="planted-autoencoder@1")
    assert str(told.parameters["companion"]).startswith("planted-autoencoder@1.0.0 ")


def test_an_autoencoder_with_another_field_of_view_is_refused(tmp_path: Path) -> None:
    model = loaded(linear_pair(tmp_path, fit="stretch"))
    refusal = why_not(method_named("latent-shift"), model)
    assert isinstance(refusal, ExplanationError)
    assert "field of view" in refusal.message


def test_a_companion_that_is_no_autoencoder_is_refused(pair: Pair, model: Model) -> None:
    with pytest.raises(PackageError, match="expected an autoencoder"):
        shifted(model, picture(pair, 1), "one", autoencoder="planted-linear@1")


def test_cancelling_ends_the_search(pair: Pair, model: Model) -> None:
    def cancel(done: int, total: int, words: str) -> None:
        assert done <= total
        assert "latent-shift" in words
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        explain(model, picture(pair, 1), target="one", method="latent-shift", progress=cancel)


def test_a_traversal_goes_from_one_picture_to_the_other_or_along_a_direction(pair: Pair, model: Model) -> None:
    space = LatentSpace(model, method="latent-position")
    first, second = picture(pair, 1)[0, 0], picture(pair, 2)[0, 0]
    frames = traverse(space, first, towards=second, steps=5)
    np.testing.assert_allclose(frames, np.linspace(first, second, 5), atol=1e-4)
    along = traverse(space, first, direction=np.eye(6)[0], reach=0.5, steps=3)
    np.testing.assert_allclose(along[1], first, atol=1e-4)
    np.testing.assert_allclose(along[2] - along[1], along[1] - along[0], atol=1e-4)
    with pytest.raises(ValueError, match="towards"):
        traverse(space, first)


def test_padding_stays_as_it_is_in_every_frame(pair: Pair, model: Model) -> None:
    valid = np.ones((16, 16), bool)
    valid[:4] = False
    x = picture(pair, 1)
    x[..., :4, :] = 0.0
    told = explain(model, x, target="one", method="latent-shift", context=Context(valid=valid), reach=8.0)
    assert isinstance(told, Counterfactual)
    assert told.flipped
    assert not told.frames[:, ~valid].any()
    assert not told.difference[~valid].any()
    assert told.difference[valid].any()
