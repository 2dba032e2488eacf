"""Letters that are kept are those that Pillow draws."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from whyray.results.page import typeface
from whyray.results.page.kept_letters import KeptLetters


@pytest.mark.parametrize("anchor", ["la", "ma", "ra"])
@pytest.mark.parametrize("place", [(20, 10), (20.5, 10.25)])
def test_words_look_the_same_the_first_time_and_again_in_every_colour(anchor: str, place: tuple[float, float]) -> None:
    path = str(typeface._font_file("DejaVuSans.ttf"))
    for colour in ((255, 255, 255), (40, 90, 200)):
        pictures = []
        kept = KeptLetters(path, 28)
        for font in (ImageFont.truetype(path, 28), kept, kept):
            picture = Image.new("RGB", (300, 60), (9, 9, 9))
            ImageDraw.Draw(picture).text(place, "Ångström 12 %", font=font, fill=colour, anchor=anchor)
            pictures.append(np.asarray(picture))
        assert pictures[0].std() > 0
        assert np.array_equal(pictures[0], pictures[1])
        assert np.array_equal(pictures[0], pictures[2])
