"""What a script or a notebook sees of models, images and explanations."""

from __future__ import annotations

import html
import io
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from synthetic import ball, slices, stack, volume_of
from typed_examples import examples
from whyray.base.errors import ExplanationError, GeometryError
from whyray.demo.phantom import Scan, write_phantom
from whyray.demo.studies import sample
from whyray.explain import Heatmap, Narrative, Structure
from whyray.imaging import ModelGrid, read_images, to_model, wrap_nifti
from whyray.inference import load_package
from whyray.packages import InputSpec, Intensity


def heatmap(shape: tuple[int, ...], *, signed: bool = False) -> Heatmap:
    values = np.zeros(shape, np.float32)
    values[tuple(size // 2 for size in shape)] = 2.0
    return Heatmap(values, "Mass <b>", "grad-cam", signed, "logit")


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(8, 9), (4, 8, 9)])
def test_a_map_is_drawn_over_the_input_of_the_model_with_its_scale(shape: tuple[int, ...], signed: bool) -> None:
    figure = heatmap(shape, signed=signed).plot(np.ones((1, 1, *shape), np.float32))
    map_axes, scale = figure.axes
    assert map_axes.get_title() == "Mass <b>: Grad-CAM"
    assert scale.get_ylabel() == "logit"
    under, over = map_axes.images
    assert under.get_array().shape == over.get_array().shape == shape[-2:]
    assert over.get_array().max() == 2.0, "the slice that counts most"
    assert over.get_clim() == ((-2.0 if signed else 0.0), 2.0)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=20)
    assert Image.open(stream).size[0] > 0


def test_a_notebook_shows_the_map_with_what_it_is_and_that_nobody_evaluated_it() -> None:
    shown = heatmap((8, 9))._repr_html_()
    assert "data:image/png;base64," in shown
    assert "Mass &lt;b&gt; by Grad-CAM, in logit; not evaluated, not for diagnostic use" in shown


@pytest.mark.parametrize("kind", examples())
def test_every_type_of_explanation_is_drawn_or_says_that_it_is_words(kind: str) -> None:
    explanation = examples()[kind]
    shown = explanation._repr_html_()
    assert "not evaluated, not for diagnostic use" in shown
    if isinstance(explanation, Narrative):
        assert html.escape(explanation.text) in shown
        with pytest.raises(ExplanationError, match="nothing to draw"):
            explanation.plot()
        return
    assert "data:image/png;base64," in shown
    figure = explanation.plot()
    assert explanation.target in figure.get_suptitle()
    assert all(axes.has_data() for axes in figure.axes)


def test_a_counterfactual_is_drawn_as_it_is_and_changed() -> None:
    explanation = examples()["latent-shift"]
    before, after, difference = explanation.plot().axes
    np.testing.assert_array_equal(before.images[0].get_array(), explanation.frames[explanation.start])
    np.testing.assert_array_equal(after.images[0].get_array(), explanation.frames[explanation.end])
    np.testing.assert_array_equal(difference.images[0].get_array(), explanation.difference)


def test_a_model_says_what_it_is_and_loads_nothing_for_it() -> None:
    model = load_package("cxr-opacity")
    shown = model._repr_html_()
    for words in (model.identity, "Lung Opacity", "planar", "Not for diagnostic use."):
        assert words in shown
    assert "network" not in vars(model)


def test_a_map_of_a_volume_lies_in_nifti_where_the_series_lies(tmp_path: Path) -> None:
    centre = np.array([41.0, -22.0, 63.0])
    planes = stack(10, (24, 30), spacing=(1.5, 1.2), distance=2.0, rotation=(8, -6, 25), tilt=10, centre=tuple(centre))
    (image,) = read_images(slices(volume_of(planes, ball(tuple(centre), 5.0)), planes)).or_raise()
    spec = InputSpec(
        name="image", layout="NCDHW", kind="volume", shape=(16, 28, 28), spacing=(1.5, 1.5, 1.5),
        intensity=Intensity(source="modality", window=(0.0, 2000.0)),
    )  # fmt: skip
    given = to_model(image, spec)
    made = Heatmap(given.tensor[0, 0], "Mass", "rise", False, "probability")
    nibabel.save(made.to_nifti(given.grid), tmp_path / "map.nii.gz")
    _assert_centre(nibabel.load(tmp_path / "map.nii.gz"), centre)
    assert nibabel.load(tmp_path / "map.nii.gz").header["descrip"].item() == b"Mass, rise, probability"
    mask = Structure("lesion", given.tensor[0, 0] > given.tensor.mean())
    nibabel.save(mask.to_nifti(given.grid), tmp_path / "mask.nii")
    assert nibabel.load(tmp_path / "mask.nii").get_data_dtype() == np.uint8
    _assert_centre(nibabel.load(tmp_path / "mask.nii"), centre)
    nibabel.save(image.to_nifti(), tmp_path / "image.nii")
    _assert_centre(nibabel.load(tmp_path / "image.nii"), centre)
    wrapped = wrap_nifti(tmp_path / "image.nii", "CT")
    (again,) = read_images(wrapped.instances).or_raise()
    np.testing.assert_allclose(np.sort(again.modality, axis=None), np.sort(image.modality, axis=None))
    assert image.plot().axes[0].images[0].get_array().shape == (24, 30)


def _assert_centre(written: nibabel.Nifti1Image, lps: np.ndarray) -> None:
    """The weight of what is bright lies at a place in the patient, given as DICOM gives it."""
    values = np.clip(written.get_fdata() - np.median(written.get_fdata()), 0, None)
    voxels = np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), axis=-1)
    at = np.average(voxels.reshape(-1, 3), axis=0, weights=values.reshape(-1))
    np.testing.assert_allclose(nibabel.affines.apply_affine(written.affine, at), lps * (-1, -1, 1), atol=0.6)


def test_what_has_no_place_in_a_patient_is_not_written_as_if_it_had() -> None:
    flat = ModelGrid((8, 9), np.eye(3))
    with pytest.raises(GeometryError, match="no place in patient"):
        heatmap((8, 9)).to_nifti(flat)
    with pytest.raises(GeometryError, match="on a grid of"):
        heatmap((4, 8, 9)).to_nifti(ModelGrid((4, 9, 8), np.eye(4)))
    uneven = stack(4, (8, 9), distance=(2.0, 3.0, 2.0))
    (image,) = read_images(slices(volume_of(uneven, ball((0, 0, 0), 3.0)), uneven)).or_raise()
    with pytest.raises(GeometryError, match="one even stack"):
        image.to_nifti()


def test_the_readmes_example_goes_from_a_file_to_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(sample("RG1_UNCR.dcm"), "FILE.dcm")
    exec(compile(example, "README.md", "exec"), {})
    with Image.open("why.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 10


def test_what_the_readme_says_of_pictures_and_volumes_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its example fails on them, though the command beside it takes them."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    picture, volume = re.findall(r"`(read_images\(.+?)`", readme)
    names: dict[str, object] = {}
    exec("from whyray.imaging import read_images, wrap_nifti, wrap_picture\nfrom pathlib import Path", names)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save("FILE.png")
    nibabel.save(nibabel.Nifti1Image(np.arange(512, dtype=np.int16).reshape(8, 8, 8), np.eye(4)), "FILE.nii.gz")
    for call in (picture, volume):
        assert len(eval(call, names).or_raise()) == 1


def test_the_page_on_python_goes_from_a_nifti_volume_to_a_map_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "files-and-python.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (image,) = read_images(write_phantom(tmp_path / "head", Scan(slices=16, size=64, spacing=(3.5, 3.5)))).or_raise()
    nibabel.save(image.to_nifti(), "head.nii.gz")
    exec(compile(example, "files-and-python.md", "exec"), {"path": Path("head.nii.gz")})
    over, under = nibabel.load("why.nii.gz"), nibabel.load("volume.nii.gz")
    np.testing.assert_allclose(_middle(over), _middle(under), atol=3.0)
    assert over.get_fdata().max() > 0
    with Image.open("why.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 10


def _middle(image: nibabel.Nifti1Image) -> np.ndarray:
    return nibabel.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2)
