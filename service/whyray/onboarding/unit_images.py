"""Images to survey a package's units on: files, what is known of where concepts are, and what may be shown of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray
from whyray.base.errors import ConfigError, ExplanationError, ImageError
from whyray.explain import Case, as_input, displayed, on_grid_of
from whyray.explain.anatomy import AnatomyParameters, structures_of
from whyray.imaging import is_picture, read_images, to_model, wrap_picture
from whyray.inference import Autoencoder, Model
from whyray.onboarding.images import Known, single_images
from whyray.onboarding.unit_survey import UnitImage
from whyray.packages import Intensity

Pictures = Literal["as they are", "reconstructed", "none"]
_METHOD = "network-dissection"
_ENDINGS = (".png", ".jpg", ".jpeg", ".dcm")


def unit_images(
    model: Model,
    files: Sequence[Path],
    *,
    masks: Path | None,
    anatomy: str | None,
    pictures: Pictures,
    most: int,
    zones: bool = False,
    progress: Callable[[float, str], None],
) -> tuple[list[UnitImage], list[str]]:
    """References for `survey_units`, and why other images can't be taken.

    Masks lie in `masks`/CONCEPT/NAME.png, NAME an image's file name without its ending or its SOP Instance UID; where a
    concept has no mask for an image, nobody looked. Structures of the anatomy package (the one named, else the
    model's companion, if it has one) are concepts too, the lungs by `zones` if wished. Raises ImageError where no
    image can be taken, ConfigError for a folder of masks without any.
    """
    concepts = _concepts(masks)
    named = anatomy or model.manifest.companions.get("anatomy")
    autoencoder = (
        Autoencoder(model.companion("autoencoder", method=_METHOD, reference=None))
        if pictures == "reconstructed"
        else None
    )
    images: list[UnitImage] = []
    refused: list[str] = []
    for single in single_images(files, model.manifest, Known(), most=most, progress=progress):
        if isinstance(single, str):
            refused.append(single)
            continue
        x = model.network.checked_input(single.image.x)
        image = UnitImage(x, masks=_masks(model, concepts, single.names) | _structures(model, x, named, zones))
        if pictures != "none" and not single.burned_in:
            image = _with_picture(model, image, autoencoder)
        images.append(image)
    if not images:
        raise ImageError(f"none of {len(refused)} images is for {model.identity}: {refused[0] if refused else 'none'}")
    return images, refused


def _with_picture(model: Model, image: UnitImage, autoencoder: Autoencoder | None) -> UnitImage:
    shown = displayed(image.x, model.manifest.input)
    if autoencoder is None:
        return replace(image, picture=shown[0])
    made = autoencoder.reconstruct(on_grid_of(shown, model, autoencoder.model, method=_METHOD))
    back = on_grid_of(made, autoencoder.model, model, method=_METHOD)
    return replace(image, picture=back[0], picture_x=as_input(back, model.manifest.input))


def _structures(model: Model, x: NDArray[np.float32], anatomy: str | None, zones: bool) -> dict[str, BoolArray]:
    if anatomy is None:
        return {}
    case = Case(model, x, [0])
    try:
        structures = structures_of(case, AnatomyParameters(anatomy=anatomy, zones=zones), method=_METHOD)
    except ExplanationError:
        return {}  # an image without any anatomy that the package knows: nobody looked
    return {structure.name: structure.mask for structure in structures}


def _concepts(masks: Path | None) -> dict[str, dict[str, Path]]:
    """By concept: masks by the name of their image."""
    if masks is None:
        return {}
    concepts = {
        folder.name: {path.stem: path for path in sorted(folder.iterdir()) if path.is_file() and is_picture(path)}
        for folder in sorted(masks.iterdir())
        if folder.is_dir()
    }
    concepts = {name: files for name, files in concepts.items() if files}
    if not concepts:
        raise ConfigError(
            f"{masks}: expected CONCEPT/IMAGE.png, found none",
            advice="Put the masks of each concept into a folder of its name.",
        )
    return concepts


def _masks(model: Model, concepts: dict[str, dict[str, Path]], names: frozenset[str]) -> dict[str, BoolArray]:
    stems = {name.rsplit(".", 1)[0] if name.lower().endswith(_ENDINGS) else name for name in names}
    return {
        concept: _on_grid(model, files[stem]) for concept, files in concepts.items() for stem in stems if stem in files
    }


def _on_grid(model: Model, path: Path) -> BoolArray:
    """A mask as the package would see it: what is brighter than mid-grey; nothing is outside the image."""
    spec = model.manifest.input.model_copy(
        update={"intensity": Intensity(), "pad_value": 0.0, "channels": 1, "layout": "NCHW", "modalities": ()}
    )
    [image] = read_images([wrap_picture(path)]).or_raise()
    given = to_model(image, spec)
    return np.asarray(given.tensor[0, 0] >= 0.5)
