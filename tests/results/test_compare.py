"""Pages that show methods or findings side by side, where a site's layout wants them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from results.answers import CARDIOMEGALY, NODULE, a_map, answer_about, blob, centre_of
from results.sources import image_named
from whyray.explain import method_title
from whyray.quality import Grade
from whyray.results import Finding, build_results, encode, shown_maps
from whyray.results.page import comparisons


def answer(name: str):
    """Two findings; the first by three methods of which one is withheld, the second by one of these."""
    image = image_named(name)
    centre = centre_of(image)
    other = (centre[0], image.shape[1] // 5, image.shape[2] // 5)
    maps = (
        a_map(image, blob(image, centre)),
        a_map(image, 3 * blob(image, other), method="rise", grade=Grade.AMBER),
        a_map(image, blob(image, other), method="lime", grade=Grade.RED),
    )
    second = a_map(image, blob(image, other))
    return answer_about(
        image,
        [
            Finding(CARDIOMEGALY, present=True, probability=0.8, maps=maps),
            Finding(NODULE, present=True, probability=0.6, maps=(second,)),
        ],
    )


def wanting(templates, *compare: str):
    return dataclasses.replace(templates, layout=templates.layout.model_copy(update={"compare": compare}))


@pytest.mark.parametrize("name", ["DX, Japanese", "tilted CT, Japanese", "real US in colour", "enhanced MR volume"])
def test_pages_compare_what_may_be_shown_and_are_valid(name, templates, errors_of, tmp_path):
    made = answer(name)
    plain = build_results(made, ["sc"], templates)
    results = build_results(made, ["sc"], wanting(templates, "methods", "targets"))
    extra = results[len(plain) :]
    assert [result.description for result in extra] == [
        "Cardiomegaly: methods side by side",
        "Grad-CAM: targets side by side",
    ]
    uids = {result.dataset.SOPInstanceUID for result in results}
    assert len(uids) == len(results)
    for number, result in enumerate(extra):
        assert errors_of(encode(result.dataset)) == []
        Image.fromarray(result.picture).save(tmp_path / f"{number}.png")


def test_each_panel_shows_its_own_map_over_the_same_slice(templates):
    made = answer("tilted CT, Japanese")
    layout = wanting(templates, "methods", "targets").layout
    methods, targets = comparisons(made, shown_maps(made), layout, templates.wording("en"))
    assert [panel.caption for panel in methods.page.panels[1:]] == [
        "Grad-CAM",
        f"{method_title('rise')} · use with caution",
    ]
    assert [panel.caption for panel in targets.page.panels[1:]] == ["Cardiomegaly   80%", "Nodule   60%"]
    for comparison in (methods, targets):
        assert {panel.frame for panel in comparison.page.panels} == {centre_of(made.image)[0]}
        plain, *overlaid = [panel.picture.astype(int) for panel in comparison.page.panels]
        for panel, shown in zip(overlaid, comparison.maps, strict=True):
            changed = np.abs(panel - plain).sum(-1)
            rows, columns = changed.shape
            values = shown.values[centre_of(made.image)[0]]
            wanted = np.array(np.unravel_index(values.argmax(), values.shape)) / values.shape
            centre = np.argwhere(changed > 0.5 * changed.max()).mean(0) / (rows, columns)
            np.testing.assert_allclose(centre, wanted, atol=0.06)


def test_nothing_is_compared_with_itself_or_without_being_asked_for(templates):
    image = image_named("DX, Japanese")
    (one,) = (a_map(image, blob(image, centre_of(image))),)
    alone = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(one,))])
    both = wanting(templates, "methods", "targets")
    assert len(build_results(alone, ["sc"], both)) == len(build_results(alone, ["sc"], templates)) == 2


def test_the_printed_report_has_the_comparison_too(templates):
    made = answer("DX, Japanese")
    sizes = [
        build_results(made, ["pdf"], variant)[0].dataset.EncapsulatedDocumentLength
        for variant in (templates, wanting(templates, "methods"))
    ]
    assert sizes[1] > sizes[0]
