"""`tcav` and `rcv`: planted concepts are found, random ones are not, and numbers are those of independent sources."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from explain.concepts.planted_concepts import WEIGHTS, concept_package, examples, images, model_of, with_bank
from whyray.base.errors import ArtefactMissing
from whyray.explain import ConceptScores, explain, method_named, why_not
from whyray.explain.concepts import LayerToLogits, curved_layer, false_positives, layer_to_logits
from whyray.explain.concepts.rcv import bidirectional_relevance
from whyray.explain.concepts.significance import corrected, single_case, two_samples
from whyray.inference import Model
from whyray.onboarding import fit_bank
from whyray.onboarding.concept_fitting import ConceptRecipe


@pytest.fixture(scope="module")
def curved(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network without named concepts that bends behind its embedding, with fitted concepts."""
    return with_bank(concept_package(tmp_path_factory.mktemp("packages"), named=False, head="curved"))[0]


def told(model: Model, method: str, target: str = "first", seed: int = 5, **parameters: object) -> ConceptScores:
    explanation = explain(model, images(1, seed)[0], target=target, method=method, **parameters)
    assert isinstance(explanation, ConceptScores)
    return explanation


def test_planted_concepts_are_found_with_their_sign_and_random_ones_are_not(curved: Model) -> None:
    by_name = {concept.name: concept for concept in told(curved, "tcav").concepts}
    assert by_name["alpha"].reliable
    assert by_name["beta"].reliable
    assert by_name["alpha"].score > 0 > by_name["beta"].score
    assert by_name["alpha"].class_score == 1.0
    assert by_name["beta"].class_score == 0.0
    assert not by_name["coin"].reliable
    assert by_name["coin"].p_value > 0.05
    assert not by_name["delta"].reliable, "it has no weight in this answer"


def test_the_same_for_measures(curved: Model) -> None:
    by_name = {concept.name: concept for concept in told(curved, "rcv").concepts}
    assert set(by_name) == {"alpha level [%]", "beta level", "noise"}
    assert by_name["alpha level [%]"].reliable
    assert by_name["alpha level [%]"].held_out > 0.9
    assert not by_name["noise"].reliable
    assert by_name["noise"].held_out < 0.1


def test_another_target_has_other_concepts(curved: Model) -> None:
    by_name = {concept.name: concept for concept in told(curved, "tcav", "second").concepts}
    assert by_name["gamma"].reliable
    assert by_name["gamma"].score > 0
    assert not by_name["alpha"].reliable


def test_the_score_is_what_the_logit_changes_by_when_activations_move(curved: Model) -> None:
    from whyray.explain.concepts import directions_of

    bank, directions = directions_of(curved, "tcav", "presence")
    x, _ = images(1, 5)
    embedding = curved.session.tapped(x, ["embedding"])["embedding"]
    behind = layer_to_logits(curved, "embedding")
    by_name = {concept.name: concept for concept in told(curved, "tcav").concepts}
    for number, concept in enumerate(bank.concepts[:5]):
        moved = behind.logits(np.stack([embedding[0] + sign * 0.01 * directions.steps[number] for sign in (1, -1)]))
        assert by_name[concept.name].score == pytest.approx((moved[0, 0] - moved[1, 0]) / 0.02, rel=0.02, abs=0.01)


def test_class_scores_equal_captums(curved: Model) -> None:
    concept_module = pytest.importorskip("captum.concept", reason="captum is a test-only reference")
    from whyray.explain.concepts import directions_of

    bank, directions = directions_of(curved, "tcav", "presence")
    made = examples()
    x = torch.from_numpy(np.concatenate(made.x))
    rows = np.flatnonzero(made.targets[:, 0] > 0.5)
    steps = torch.from_numpy(directions.steps[:2].copy())

    class Given(concept_module.Classifier):
        """Hands out our vectors, so that only the scoring is compared."""

        def __init__(self) -> None:
            pass

        def train_and_eval(self, dataloader: object, **_: object) -> dict[str, torch.Tensor]:
            list(dataloader)  # type: ignore[call-overload]
            return {"accs": torch.tensor([1.0])}

        def weights(self) -> torch.Tensor:
            return steps

        def classes(self) -> list[int]:
            return [0, 1]

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            behind = LayerToLogits(curved, "embedding")
            self.embed, self.rest = torch.nn.Identity(), behind._torch

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            output = self.rest(self.embed(given))
            return output[0] if isinstance(output, tuple | list) else output

    embedded = torch.from_numpy(
        np.concatenate([curved.session.tapped(image, ["embedding"])["embedding"] for image in made.x])
    )
    concepts = [
        concept_module.Concept(id=number, name=bank.concepts[number].name, data_iter=[embedded[:4]])
        for number in range(2)
    ]
    scores = concept_module.TCAV(
        Net(), ["embed"], classifier=Given(), save_path=str(curved.package.folder / "captum")
    ).interpret(embedded[rows], [concepts], target=0)
    signs = scores["0-1"]["embed"]["sign_count"].detach().numpy()
    np.testing.assert_allclose(signs, directions.class_score[0, :2], atol=1e-6)
    assert len(x) == len(embedded)


def test_random_concepts_are_found_as_often_as_the_level_says_and_far_more_by_repeated_copies(tmp_path: Path) -> None:
    """The reason why the test is not Kim's by default: copies of one vector are no independent observations."""
    model = model_of(concept_package(tmp_path, named=False, head="curved"))
    made = examples(120)
    rng = np.random.default_rng(2)
    coins = rng.random((120, 40)) > 0.5
    from dataclasses import replace

    from whyray.explain.concepts import Concept

    made = replace(
        made,
        values=coins.astype(float),
        concepts=tuple(Concept(f"coin {number}", "presence", 0) for number in range(40)),
    )
    bank = fit_bank(model, made, ConceptRecipe(copies=10, random=60), lambda *_: None)
    directions = bank.directions
    assert directions is not None
    mean, score = directions.class_mean[0], directions.class_score[0]
    single = [single_case(float(mean[number]), mean[directions.random]) <= 0.05 for number in range(40)]
    repeated = [
        two_samples(score[directions.copies_of(number)], score[directions.random]) <= 0.05 for number in range(40)
    ]
    assert np.mean(single) <= 0.15
    assert np.mean(repeated) > 0.2
    assert false_positives(mean[directions.random], 0.05) <= 0.15


def test_where_the_rest_is_affine_every_image_has_the_same_score_and_relevance_has_no_meaning(tmp_path: Path) -> None:
    model, bank = with_bank(concept_package(tmp_path, named=False))
    assert curved_layer(model) is None
    assert bank.directions is not None
    assert bank.directions.tensor == "embedding"
    first, second = (told(model, "tcav", seed=seed).concepts for seed in (1, 2))
    assert [concept.score for concept in first] == pytest.approx([concept.score for concept in second], abs=1e-5)
    assert all(concept.class_score is None for concept in told(model, "rcv").concepts)


def test_bidirectional_relevance_is_r_squared_times_mean_over_deviation() -> None:
    assert bidirectional_relevance(0.5, 2.0, 4.0) == 0.25
    assert bidirectional_relevance(-0.2, 2.0, 4.0) == 0.0
    assert bidirectional_relevance(0.9, 2.0, 0.0) is None


@pytest.mark.parametrize(("method", "kept"), [("tcav", "measure"), ("rcv", "presence")])
def test_a_bank_without_concepts_of_the_kind_is_refused_by_name(tmp_path: Path, method: str, kept: str) -> None:
    from dataclasses import replace

    made = examples(80)
    stay = [number for number, concept in enumerate(made.concepts) if concept.kind == kept]
    made = replace(made, concepts=tuple(made.concepts[number] for number in stay), values=made.values[:, stay])
    path = concept_package(tmp_path, named=False)
    refusal = why_not(method_named(method), model_of(path))
    assert isinstance(refusal, ArtefactMissing), "without the artefact"
    model, _ = with_bank(path, made, ConceptRecipe(copies=2, random=20))
    refusal = why_not(method_named(method), model)
    assert isinstance(refusal, ArtefactMissing)
    assert method in refusal.message


def test_a_case_is_held_against_a_sample_as_crawford_and_howell_do() -> None:
    sample = np.array([10.0, 12.0, 9.0, 11.0, 13.0])
    t = (20 - 11) / (sample.std(ddof=1) * np.sqrt(1 + 1 / 5))
    assert single_case(20, sample) == pytest.approx(2 * stats.t.sf(t, 4))
    assert single_case(11, sample) == pytest.approx(1.0)


def test_repeated_scores_are_compared_by_welchs_test_as_in_a_worked_example() -> None:
    """The first example of Wikipedia's page on Welch's t-test: t = -2.46 with 25.0 degrees of freedom, p = 0.021."""
    one = np.array([27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4])
    other = np.array([27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4])
    assert two_samples(one, other) == pytest.approx(0.021, abs=5e-4)
    assert two_samples(one, other[:6]) == pytest.approx(stats.ttest_ind(one, other[:6], equal_var=False).pvalue)


def test_repeated_scores_that_are_all_the_same_are_compared_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert two_samples(np.ones(5), np.ones(9)) == 1.0
        assert two_samples(np.ones(5), np.zeros(9)) == 0.0
        # a gap of 0.45 with a variance of 0.53 / 3 in four, so three degrees of freedom
        expected = 2 * stats.t.sf(0.45 / np.sqrt(0.53 / 12), 3)
        assert two_samples(np.ones(5), np.array([1.0, 0.0, 0.5, 0.7])) == pytest.approx(expected)


def test_many_tests_are_corrected_as_benjamini_and_hochberg_do_in_their_example() -> None:
    """Section 3.1 of the paper of 1995: fifteen p-values, of which the first four are significant at 0.05."""
    raw = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    raw += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    adjusted = corrected(np.array(raw), "benjamini-hochberg")
    assert np.count_nonzero(adjusted <= 0.05) == 4
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)
    assert adjusted[4] == pytest.approx(0.0201 * 15 / 5)
    assert adjusted[5] == pytest.approx(0.0298 * 15 / 7), "not more than that of a larger p-value"


def test_corrections_leave_unknown_ones_out_and_keep_the_order() -> None:
    raw = np.array([0.04, 0.2, np.nan, 0.01, 0.03])
    adjusted = corrected(raw, "benjamini-hochberg")
    np.testing.assert_allclose(adjusted[[0, 1, 3, 4]], [0.16 / 3, 0.2, 0.04, 0.16 / 3])
    assert np.isnan(adjusted[2])
    np.testing.assert_allclose(corrected(raw, "bonferroni")[[0, 1, 3, 4]], [0.16, 0.8, 0.04, 0.12])
    assert np.isnan(corrected(np.array([np.nan]), "benjamini-hochberg")[0])


def test_weights_of_the_planted_network_have_the_signs_that_the_tests_above_rely_on() -> None:
    assert WEIGHTS[0, 0] > 0 > WEIGHTS[0, 1]
    assert WEIGHTS[1, 2] > 0
