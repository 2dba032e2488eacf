"""What a survey of a layer's units found, as one HTML page with tiles: for whoever onboards a package."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.onboarding.network_dissection import LEAST_IOU
from whyray.onboarding.unit_survey import UnitSurvey

_STYLE = """body{font:15px/1.5 sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{padding:.3rem .7rem;border-bottom:1px solid #ccc;text-align:left}
img{height:72px;margin-right:3px;image-rendering:auto}.mark{color:#a33;font-weight:bold}"""
_SYNTHETIC = "SYNTHETIC"


def units_page(survey: UnitSurvey) -> str:
    """The page; pictures are inside it, so that it is one file."""
    facts = survey.facts
    title = f"Units of {facts.details['layer']} in {facts.package}"
    known = {
        "images": facts.count,
        "source": facts.source,
        "licence": facts.licence,
        "graph": facts.graph,
        "made": facts.made.isoformat(),
        **{key: value for key, value in facts.details.items() if key not in ("layer", "concepts")},
    }
    rows = "".join(f"<tr><th>{escape(key)}<td>{escape(str(value))}</tr>" for key, value in known.items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1><table>{rows}</table>{_concepts(survey)}{_units(survey)}</html>\n"
    )


def _concepts(survey: UnitSurvey) -> str:
    names = survey.facts.details["concepts"]
    if not names:
        return "<p>No masks were given, so no unit is named by a concept.</p>"
    concept, iou = survey.arrays["concept"], survey.arrays["iou"]
    rows = ""
    for index, name in enumerate(names):
        own = np.flatnonzero(concept == index)
        best = own[np.argsort(-iou[own])][:5]
        named = ", ".join(f"{unit} ({iou[unit]:.2f})" for unit in best) or "none"
        rows += f"<tr><td>{escape(name)}<td>{len(own)}<td>{named}</tr>"
    rule = (
        f"A unit detects a concept where the places of its highest 0.5 % of activations overlap the concept's masks by "
        f"more than {LEAST_IOU:g} (intersection over union), and by more than masks of other images in each of 20 "
        "permutations (Bau et al. 2017). As many units would be named by chance: "
        f"{survey.facts.details['units with a concept by chance']}."
    )
    head = "<tr><th>concept<th>units<th>the best (overlap)</tr>"
    return f"<h2>Network dissection</h2><p>{rule}</p><table>{head}{rows}</table>"


def _units(survey: UnitSurvey) -> str:
    made = {synthetic.unit: synthetic for synthetic in survey.maximised}
    patches = _by_unit(survey.arrays, "patch_of", "patches")
    pictures = _by_unit(survey.arrays, "maximised_of", "maximised")
    highest = _by_unit(survey.arrays, "maximised_of", "highest")
    rows = ""
    for unit in survey.leaned_on:
        cells = [f"<td>{unit}", f"<td>{escape(_concept(survey, unit))}", f"<td>{_tiles(patches.get(unit))}"]
        if survey.maximised:
            shown = made.get(unit)
            words = ""
            if shown is not None:
                reached, most = float(shown.reached.mean()), float(highest[unit])
                words = f"<br>{reached:.2f} (highest reference {most:.2f})"
            cells.append(f"<td>{_tiles(pictures.get(unit))}{words}")
        rows += f"<tr>{''.join(cells)}</tr>"
    head = "<tr><th>unit<th>detects<th>what excites it most among the images"
    head += f" <span class=mark>{_SYNTHETIC}</span>" if survey.facts.synthetic else ""
    if survey.maximised:
        head += f"<th>made to excite it <span class=mark>{_SYNTHETIC}</span>, mean activation reached"
    words = "<p>The units that move the answers most among the images, the most important of each target in turn.</p>"
    return f"<h2>Units</h2>{words}<table>{head}</tr>{rows}</table>"


def _concept(survey: UnitSurvey, unit: int) -> str:
    index = int(survey.arrays["concept"][unit])
    return "" if index < 0 else f"{survey.facts.details['concepts'][index]} ({survey.arrays['iou'][unit]:.2f})"


def _by_unit(arrays: dict[str, NDArray[Any]], index: str, name: str) -> dict[int, NDArray[Any]]:
    return dict(zip(arrays[index].tolist(), arrays[name], strict=True)) if index in arrays else {}


def _tiles(pictures: NDArray[np.uint8] | None) -> str:
    from PIL import Image

    tiles = ""
    for picture in () if pictures is None else pictures:
        file = BytesIO()
        Image.fromarray(picture).save(file, "PNG", optimize=True)
        tiles += f"<img alt='' src=data:image/png;base64,{b64encode(file.getvalue()).decode()}>"
    return tiles
