"""One example of each type of explanation that is not a heatmap, full of everything that it may hold."""

from __future__ import annotations

import numpy as np

from whyray.base.coded_concept import CodedConcept
from whyray.explain import (
    CaseMatch,
    CaseMatches,
    Claim,
    ConceptScore,
    ConceptScores,
    Counterfactual,
    Intervention,
    LatentPosition,
    Narrative,
    RegionShare,
    RegionShares,
    Sentence,
    Structure,
    TypedExplanation,
    UnitEffect,
    UnitReport,
)

SHAPE = (32, 32)
RIGHT = CodedConcept(value="24028007", scheme="SCT", meaning="Right")
LEFT_LUNG = CodedConcept(value="44029006", scheme="SCT", meaning="Left lung")


def picture(seed: int = 0) -> np.ndarray:
    """Something to look at."""
    return np.random.default_rng(seed).random(SHAPE).astype(np.float32)


def examples(target: str = "Mass") -> dict[str, TypedExplanation]:
    """By the name of the type."""
    half = np.zeros(SHAPE, bool)
    half[:, :16] = True
    whole = {"target": target, "parameters": {"seed": 0}}
    explanations: list[TypedExplanation] = [
        ConceptScores(
            **whole,
            method="concept-bottleneck",
            unit="logit",
            concepts=(
                ConceptScore("Effusion", 1.2, 0.8, held_out=0.81),
                ConceptScore("Cardiomegaly", -0.4, 0.1, held_out=0.55, reliable=False),
            ),
            base=-1.0,
            total=-0.2,
            interventions=(Intervention("Effusion", 0.0, -1.4, 0.2),),
        ),
        ConceptScores(
            **whole,
            method="tcav",
            unit="share of references",
            concepts=(ConceptScore("Effusion", 0.9, None, (0.8, 1.0), 0.001, 0.9, "accuracy"),),
        ),
        CaseMatches(
            **whole,
            method="similar-cases",
            unit="cosine similarity",
            matches=(
                CaseMatch("case-0007", 0.93, 0.8, True, picture=picture(1), synthetic=True),
                CaseMatch("case-0009", 0.91, 0.7, None),
            ),
            contrasts=(CaseMatch("case-0100", 0.5, 0.1, False, picture=picture(2), synthetic=True),),
            reference_count=399,
        ),
        CaseMatches(
            **whole,
            method="prototypes",
            unit="similarity",
            matches=(
                CaseMatch("prototype-1", 0.7, weight=1.5, picture=picture(3), synthetic=True, resembles=picture(4)),
            ),
            reference_count=10,
            base=0.1,
            total=1.15,
        ),
        Counterfactual(
            **whole,
            method="latent-shift",
            frames=np.stack([picture(5), picture(6), picture(7)]),
            answers=(0.8, 0.6, 0.3),
            start=0,
            end=2,
            flipped=True,
            difference=picture(7) - picture(5),
            answer_before=0.82,
        ),
        Counterfactual(
            **whole,
            method="region-counterfactual",
            frames=np.stack([picture(5), picture(6)]),
            answers=(0.8, 0.3),
            start=0,
            end=1,
            flipped=True,
            difference=picture(6) - picture(5),
            answer_before=0.8,
            changed=half,
            synthetic=False,
        ),
        Narrative(
            **whole,
            method="narrative",
            language="en",
            sentences=(
                Sentence("The model answers mass with 0.80.", (Claim("answer.probability", 0.8, "is the number"),)),
            ),
        ),
        LatentPosition(
            **whole,
            method="latent-position",
            references=np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32),
            position=(0.3, -0.2),
            known=np.array([1, 0, -1, 0] * 10, np.int8),
            plane="PCA",
            axes=("component 1 (41 % of the variance)", "component 2 (20 % of the variance)"),
            percentile=97.0,
            distance_is="Mahalanobis",
            distances={"Mahalanobis": (12.1, 97.0), "kNN": (3.0, 88.0)},
            trustworthiness=0.95,
            traversal=np.stack([picture(8), picture(9)]),
        ),
        RegionShares(
            **whole,
            method="region-shares",
            unit="share of attribution",
            regions=(
                RegionShare(Structure("left lung", half, LEFT_LUNG, allowed=True), 0.7, 0.5, 1.4),
                RegionShare(Structure("right lung", ~half, None, RIGHT, allowed=False), 0.3, 0.5, 0.6, 0.2),
            ),
            outside=0.0,
            flagged=True,
            of="grad-cam",
        ),
        UnitReport(
            **whole,
            method="unit-report",
            units=(
                UnitEffect("features", 7, 1.5, 0.9, -0.8, 99.0, "left lung", 0.11, np.stack([picture(1)] * 3), True),
                UnitEffect("features", 3, 0.5, -0.2, 0.1, activation_map=picture(2)),
            ),
            unit_count=64,
            base=0.0,
            total=0.7,
        ),
    ]
    return {explanation.method: explanation for explanation in explanations}
