"""A method of another distribution is one file and one entry point: known, checked, run and judged like our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inference import nets
from whyray.explain import AttributionMap, register

METHOD = '''
from typing import ClassVar
import numpy as np
from pydantic import Field
from whyray.explain import Attribution, AttributionMap, MethodParameters

class BrightnessParameters(MethodParameters):
    gain: float = Field(1.0, gt=0)

class Brightness(AttributionMap):
    """The image itself, which knows nothing of the model."""
    name: ClassVar = "brightness"
    tier: ClassVar = "T0"
    unit: ClassVar = "grey value"
    Parameters: ClassVar = BrightnessParameters

    def attribute(self, case, parameters):
        values = np.asarray(case.x[0].mean(axis=0) * parameters.gain, np.float32)
        return [Attribution(values, "input") for _ in case.targets]
'''


def site_with(folder: Path, code: str, entry_point: str) -> Path:
    """A folder of installed distributions that holds one of another author."""
    (folder / "brightness_method.py").write_text(code)
    info = folder / "brightness_method-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness-method\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[whyray.methods]\n{entry_point}\n")
    return folder


def python(site: Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


EXPLAIN = """
import json, sys
import numpy as np
from whyray.explain import explain, method_named, methods
from whyray.inference import load_package
from whyray.quality import assess, Budget
model = load_package({package!r})
x = np.load({image!r})
heatmap = explain(model, x, target=model.targets[0], method="brightness", gain=2.0)
card = assess(model, x, heatmap, budget=Budget(forwards=60, repeats=False))
print(json.dumps([heatmap.method, heatmap.unit, bool(np.allclose(heatmap.values, 2 * x[0].mean(axis=0))),
                  card.grade.value, "brightness" in [method.name for method in methods()]]))
"""


def test_a_class_named_by_an_entry_point_is_listed_run_and_judged(tmp_path: Path) -> None:
    site = site_with(tmp_path, METHOD, "brightness = brightness_method:Brightness")
    package = nets.packed("plain")
    np.save(tmp_path / "x.npy", nets.image("plain").numpy())
    done = python(site, EXPLAIN.format(package=str(package), image=str(tmp_path / "x.npy")))
    assert done.returncode == 0, done.stderr
    method, unit, doubled, grade, listed = json.loads(done.stdout)
    assert (method, unit, doubled, listed) == ("brightness", "grey value", True, True)
    assert grade in ("green", "amber", "red")


def test_the_command_line_tells_a_foreign_method_with_its_parameters(tmp_path: Path) -> None:
    site = site_with(tmp_path, METHOD, "brightness = brightness_method:Brightness")
    told = "['package', 'methods', 'brightness']"
    done = python(site, f"import sys; sys.argv[1:] = {told}; from whyray.cli.main import main; main()")
    assert done.returncode == 0, done.stderr
    assert "gain" in done.stdout


@pytest.mark.parametrize(
    "entry_point", ["brightness = brightness_method:Gone", "brightness = brightness_method:METHOD"]
)
def test_a_method_that_can_not_be_loaded_is_named_and_takes_no_other_with_it(tmp_path: Path, entry_point: str) -> None:
    site = site_with(tmp_path, METHOD.replace("class Brightness(", "METHOD = 3\n\nclass Brightness("), entry_point)
    program = "from whyray.explain import methods, method_named\nprint(len(methods()))\nmethod_named('brightness')"
    done = python(site, program)
    assert int(done.stdout) > 20
    assert "brightness of brightness-method" in done.stderr


def test_what_is_no_method_is_refused() -> None:
    class Nameless(AttributionMap):
        pass

    class WithoutTier(AttributionMap):
        name = "without-tier"

    for wrong, words in ((Nameless, "kebab-case"), (WithoutTier, "tier"), (object, "derives from")):
        with pytest.raises(ValueError, match=words):
            register(wrong)
