"""Compressed results are the same results: same pixels, same identity, valid."""

from __future__ import annotations

import numpy as np
import pytest

from results.answers import FOUR_KINDS, answer_about
from results.sources import read
from whyray.base.errors import ConfigError
from whyray.compression.lossless import COMPRESSIONS, compressed
from whyray.results import build_results, encode


@pytest.mark.parametrize("compression", ["jpeg-2000", "jpeg-ls", "rle"])
@pytest.mark.parametrize("pages", ["montage", "multiframe"])
def test_compressed_pages_have_the_same_pixels_and_identity(compression, pages, tilted_image, templates, errors_of):
    from dataclasses import replace

    volume = templates.layout.volume.model_copy(update={"pages": pages, "key_slices": 2})
    edited = replace(templates, layout=templates.layout.model_copy(update={"volume": volume}))
    _, result = build_results(answer_about(tilted_image), ["sc"], edited)
    file = encode(result.dataset)
    small = compressed(file, compression)
    assert len(small) < len(file) / 3
    dataset = read(small)
    assert dataset.file_meta.TransferSyntaxUID == COMPRESSIONS[compression]
    assert dataset.SOPInstanceUID == result.dataset.SOPInstanceUID
    assert dataset.get("LossyImageCompression") != "01"
    np.testing.assert_array_equal(dataset.pixel_array, read(file).pixel_array)
    assert errors_of(small) == []
    assert compressed(file, compression) == small


def test_a_page_is_never_deflated_since_ohif_shows_no_frame_of_it(tilted_image, templates):
    (page, *_) = build_results(answer_about(tilted_image), ["sc"], templates)
    assert compressed(encode(page.dataset), "deflate") == encode(page.dataset)


def test_what_has_no_such_compression_stays_as_it_is(tilted_image, templates):
    for result in build_results(answer_about(tilted_image), FOUR_KINDS, templates)[2:]:
        file = encode(result.dataset)
        assert compressed(file, "jpeg-ls") == file
        if result.kind == "sr":
            assert compressed(file, "deflate") == file


def test_segmentations_and_maps_are_deflated_whole(tilted_image, templates):
    for result in build_results(answer_about(tilted_image), ["seg", "pm"], templates):
        file = encode(result.dataset)
        small = compressed(file, "deflate")
        assert len(small) < len(file) / 2
        dataset = read(small)
        assert dataset.file_meta.TransferSyntaxUID == COMPRESSIONS["deflate"]
        assert {element.tag: element.value for element in dataset} == {e.tag: e.value for e in read(file)}
        assert compressed(file, "deflate") == small


def test_a_compression_that_is_not_there_is_refused(tilted_image, templates):
    (result,) = build_results(answer_about(tilted_image), ["sr"], templates)
    with pytest.raises(ConfigError, match="no compression 'zip'; there are deflate, jpeg-2000, jpeg-ls, rle"):
        compressed(encode(result.dataset), "zip")
