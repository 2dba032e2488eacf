"""OHIF shows what WhyRay made, and where it lies on the source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import convex_hull_image

from peers import until
from viewers.cases import Case
from viewers.ohif import WITHIN, Ohif
from viewers.pictures import LIKE_TEXT, Picture, centre, coloured, dice, fitted, in_source, likeness, within_skull


def test_ohif_lists_every_result_beside_the_source(ohif: Ohif, head_ct: Case) -> None:
    listed = " ".join(ohif.open(head_ct.study).series())
    for result in (*head_ct.sources[:1], *(built.dataset for built in head_ct.results)):
        assert result.SeriesDescription in listed


def test_ohif_shows_the_overlay_page_as_it_was_drawn(ohif: Ohif, head_ct: Case) -> None:
    page = head_ct.first_page
    ohif.open(head_ct.study).show("OT")
    ohif.keep("ohif-dx-sr")
    shown = ohif.without_words().looks(
        lambda window: likeness(window, page.picture) > LIKE_TEXT, "the result's picture"
    )
    ohif.keep("ohif-sc")
    assert likeness(shown, page.picture[:, ::-1]) < 0.6, "a mirrored page would not pass"


def test_ohif_shows_the_page_in_its_colours_after_the_segmentation(ohif: Ohif, head_ct: Case) -> None:
    """After a Parametric Map OHIF 3.12 does not: it keeps the map's window of 100 at 50 (docs/viewers.md)."""
    page = head_ct.first_page
    ohif.open(head_ct.study).show("SEG").show("OT")
    ohif.without_words().looks(lambda window: likeness(window, page.picture) > LIKE_TEXT, "the result's picture")


def test_ohif_lays_the_segmentation_on_the_lesion(ohif: Ohif, head_ct: Case) -> None:
    source, lesion, grey = _key_slice(head_ct)
    ohif.open(head_ct.study).show("SEG")

    def covers_the_lesion(shown: Picture) -> bool:
        return dice(in_source(coloured(shown), shown, grey), lesion) > 0.9

    ohif.looks(covers_the_lesion, "the segment on the lesion", slice_of=source)
    ohif.keep("ohif-seg")
    assert dice(lesion[:, ::-1], lesion) == dice(lesion[::-1], lesion) == 0, "a mirrored segment would not pass"


def test_ohif_lays_the_parametric_map_on_the_lesion(ohif: Ohif, head_ct: Case) -> None:
    source, lesion, grey = _key_slice(head_ct)
    ohif.open(head_ct.study).show("PMAP")

    def lies_around_the_lesion(shown: Picture) -> bool:
        lit = in_source(coloured(shown), shown, grey) & within_skull(grey)  # OHIF's note on the map is coloured too
        covers = (lit & lesion).sum() > 0.98 * lesion.sum()
        # in pixels of the source, where the lesion's radius is 9
        return bool(covers and np.linalg.norm(centre(lit) - centre(lesion)) < 3)

    ohif.looks(lies_around_the_lesion, "the heatmap around the lesion", slice_of=source)
    ohif.keep("ohif-pm")


def test_ohif_lists_the_findings_of_the_report_and_draws_the_outline_on_the_lesion(ohif: Ohif, head_ct: Case) -> None:
    _, lesion, grey = _key_slice(head_ct)
    ohif.open(head_ct.study).show("SR")
    read = until(
        lambda: ohif.ask(
            "return services.displaySetService.getActiveDisplaySets().find(each => each.Modality === 'SR').measurements"
        ),
        what="OHIF: the findings of the report",
        deadline=WITHIN,
    )
    assert {measurement["TrackingIdentifier"] for measurement in read} == {"head-findings: Haemorrhage"}
    assert all(
        measurement["labels"][:1] == [{"label": "Certainty of Finding", "value": "93.00 %"}] for measurement in read
    )
    # beside it the site at most: the figures of the quality card are not drawn over the image
    assert all(len(measurement["labels"]) <= 2 for measurement in read)
    (outlined,) = [measurement for measurement in read if measurement["coords"]]
    assert outlined["coords"][0]["GraphicType"] == "POLYLINE"

    def encloses_the_lesion(shown: Picture) -> bool:
        return dice(in_source(_enclosed(shown), shown, grey), lesion) > 0.9

    ohif.keep("ohif-sr")
    ohif.without_words().looks(encloses_the_lesion, "the outline around the lesion")


def test_ohif_opens_a_radiograph_whose_pixel_spacing_is_zero(ohif: Ohif, chest: Case) -> None:
    assert [float(spacing) for spacing in chest.sources[0].PixelSpacing] == [0, 0]
    listed = " ".join(ohif.open(chest.study).series())
    for result in chest.results:
        assert result.dataset.SeriesDescription in listed
    ohif.looks(lambda window: float(np.std(window)) > 20, "the radiograph, not an empty viewport")


def test_ohif_lays_the_segmentation_on_a_radiograph_whose_pixel_spacing_is_zero(ohif: Ohif, chest: Case) -> None:
    """Without Pixel Measures the whole viewer went: OHIF asks them of every Segmentation."""
    _, lesion, _ = _key_slice(chest)
    ohif.open(chest.study).show("SEG")

    def covers_the_place(shown: Picture) -> bool:
        expected, (rows, columns) = fitted(np.repeat(lesion[..., None] * np.uint8(255), 3, 2), *shown.shape[:2])
        orange = shown[..., 0].astype(int) - shown[..., 2] > 60  # the viewport's rim is blue
        return dice(orange[rows, columns], expected[..., 0] > 127) > 0.9

    ohif.looks(covers_the_place, "the segment on the place that was explained")
    ohif.keep("ohif-cr-seg")


def test_ohif_lays_the_segmentation_on_the_opacity_of_a_radiograph(ohif: Ohif, film: Case) -> None:
    _, lesion, grey = _key_slice(film)
    ohif.open(film.study).show("SEG")

    def covers_the_opacity(shown: Picture) -> bool:
        return dice(in_source(coloured(shown), shown, grey), lesion) > 0.9

    ohif.looks(covers_the_opacity, "the segment on the opacity")
    ohif.keep("ohif-dx-seg")
    for mask in (lesion[:, ::-1], lesion[::-1]):
        assert dice(mask, lesion) == 0, "a mirrored segment would not pass"


def test_ohif_draws_the_outline_on_the_opacity_of_a_radiograph_to_the_pixel(ohif: Ohif, film: Case) -> None:
    _, lesion, grey = _key_slice(film)
    ohif.open(film.study).show("SR")

    def outlined(shown: Picture) -> NDArray[np.bool_]:
        return in_source(_enclosed(shown), shown, grey)

    ohif.keep("ohif-dx-sr")
    shown = ohif.without_words().looks(
        lambda window: dice(outlined(window), lesion) > 0.9, "the outline around the opacity"
    )
    assert np.abs(centre(outlined(shown)) - centre(lesion)).max() < 1, "in pixels of the source"
    for mask in (lesion[:, ::-1], lesion[::-1]):
        assert dice(outlined(shown), mask) == 0, "a mirrored outline would not pass"


def _enclosed(shown: Picture) -> NDArray[np.bool_]:
    """What the dashes of an outline enclose, in the window; the regions here are convex."""
    channels = shown.astype(int)
    drawn = channels[..., 1] - channels[..., ::2].max(-1) > 60
    return np.asarray(convex_hull_image(drawn)) if drawn.sum() > 20 else drawn


def _key_slice(case: Case) -> tuple[str, NDArray[np.bool_], NDArray[np.float64]]:
    data = case.sources[case.key]
    values = data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    low = float(data.WindowCenter) - float(data.WindowWidth) / 2
    return str(data.SOPInstanceUID), case.lesions[case.key], (values - low) / float(data.WindowWidth) * 255
