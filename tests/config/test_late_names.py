"""The room's face hands on all that it names, and loads what only `whyray.yaml` needs when it is asked for that."""

from __future__ import annotations

import subprocess
import sys

import pytest

import whyray.config


def test_everything_that_the_face_names_is_given() -> None:
    for name in whyray.config.__all__:
        assert getattr(whyray.config, name) is not None, name


def test_what_it_does_not_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Konfig'"):
        _ = whyray.config.Konfig


def test_who_makes_results_loads_no_model_of_the_configuration() -> None:
    code = """
import sys
from whyray.config import DEFAULT_KINDS, Problem, reader_of
assert "pydantic" not in sys.modules
assert "whyray.config.model" not in sys.modules
from whyray.config import Config
assert Config.__module__ == "whyray.config.model"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
