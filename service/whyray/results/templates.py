"""`dicom_templates/`: what a site may change in results without code, validated.

A site's folder overrides the shipped one file by file: a file that it doesn't hold is taken from the shipped folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from whyray.base.errors import ConfigError
from whyray.base.shipped import shipped_templates
from whyray.explain.language import FOLDER, NarrativePhrases
from whyray.results.template_layout import Layout
from whyray.results.template_objects import Concepts, Equipment, SeriesTemplates
from whyray.results.wording import Wording
from whyray.results.yaml_file import read_template

__all__ = [
    "Concepts",
    "Layout",
    "Templates",
    "Wording",
    "load_templates",
    "template_schema",
    "template_schemas",
]

_FILES: dict[str, type[BaseModel]] = {
    "series.yaml": SeriesTemplates,
    "equipment.yaml": Equipment,
    "concepts.yaml": Concepts,
    "layout.yaml": Layout,
}
_WORDING, _NARRATIVE = Path("wording"), Path(FOLDER)
_LANGUAGES: dict[Path, type[BaseModel]] = {_WORDING: Wording, _NARRATIVE: NarrativePhrases}
"""Folders with a file a language; a site may add languages."""
_NAMES = (*_FILES, *(f"{folder}/LANGUAGE.yaml" for folder in _LANGUAGES))


@dataclass(frozen=True)
class Templates:
    """All templates in force. `version` is a digest of them: a change of wording gives results new UIDs."""

    series: SeriesTemplates
    equipment: Equipment
    concepts: Concepts
    layout: Layout
    wordings: Mapping[str, Wording]
    version: str

    def wording(self, language: str) -> Wording:
        """The wording of a language.

        Raises
        ------
        ConfigError
            If there is no `wording/LANGUAGE.yaml`.
        """
        if language not in self.wordings:
            raise ConfigError(
                f"no wording for language {language!r}; there are {', '.join(sorted(self.wordings))}",
                advice=f"Add wording/{language}.yaml to the site's template folder, or name one that exists.",
            )
        return self.wordings[language]


def load_templates(folder: Path | None = None) -> Templates:
    """The shipped templates, with the files of a site's `folder` in place of those of the same name.

    Raises
    ------
    ConfigError
        If a file says something that is not allowed, with file and line; or if `folder` does not exist.
    """
    shipped = shipped_templates()
    if folder is not None and not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder of templates", advice="Create it, or leave the setting out to take the defaults."
        )
    known = {str(path.relative_to(shipped)): path for path in sorted(shipped.rglob("*.yaml"))}
    own = {} if folder is None else {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.yaml"))}
    for name in own:
        if name not in known and Path(name).parent not in _LANGUAGES:
            raise ConfigError(
                f"{own[name]}: no template has this name; there are {', '.join(sorted(known))}",
                advice="Rename it to one of these, or take it out of the folder.",
            )
    files = {**known, **own}
    read = _read(files)
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name].read_bytes() + b"\0")
    return Templates(
        series=read["series.yaml"],
        equipment=read["equipment.yaml"],
        concepts=read["concepts.yaml"],
        layout=read["layout.yaml"],
        wordings={Path(name).stem: wording for name, wording in read.items() if Path(name).parent == _WORDING},
        version=digest.hexdigest()[:16],
    )


def template_schemas() -> dict[str, dict[str, Any]]:
    """{file name: JSON Schema (draft 2020-12)} of all template files; a language's as `wording/LANGUAGE.yaml`."""
    return {name: template_schema(name) for name in _NAMES}


def template_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one template file.

    Raises
    ------
    ConfigError
        If there is no such template.
    """
    model = _model(name)
    if model is None:
        raise ConfigError(
            f"no template has the name {name}; there are {', '.join(_NAMES)}", advice="Name one of these."
        )
    schema: dict[str, Any] = model.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": name}


def _model(name: str) -> type[BaseModel] | None:
    return _LANGUAGES.get(Path(name).parent) or _FILES.get(name)


def _read(files: Mapping[str, Path]) -> dict[str, Any]:
    """All files as values; everything that is wrong with any of them in one error."""
    read, refused = {}, []
    for name in sorted(files):
        model = _model(name)
        if model is None:
            continue
        try:
            read[name] = read_template(files[name], model)
        except ConfigError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        every = ConfigError("\n".join(error.message for error in refused), advice=refused[0].advice)
        every.line = refused[0].line
        raise every
    return read
