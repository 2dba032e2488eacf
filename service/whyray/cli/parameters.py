"""`--param METHOD.NAME=VALUE` and `--prevalence TARGET=SHARE`: what the command line gives methods and targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from whyray.base.errors import ConfigError

_SHAPE = "Write METHOD.NAME=VALUE, e.g. --param rise.masks=500; `whyray package methods METHOD` shows the names."


def method_requests(
    methods: Sequence[str] | Mapping[str, Mapping[str, object]], parameters: Iterable[str], *, seed: int | None = None
) -> dict[str, dict[str, object]]:
    """Methods with the parameters asked for; `seed` is given to those that draw random numbers.

    Parameters that `methods` has already stand where none are asked for.

    Values are read as YAML reads them, as in whyray.yaml: 500, 0.5, true, null, mean.

    Raises
    ------
    ConfigError
        For a method or parameter that there is not, a value that it does not take, and a parameter of a method that is
        not asked for.
    """
    from whyray.explain import checked_parameters, method_named

    given = methods if isinstance(methods, Mapping) else {}
    requests: dict[str, dict[str, object]] = {name: dict(given.get(name, {})) for name in methods}
    for name in methods:
        method = method_named(name)
        if seed is not None and "seed" in method.Parameters.model_fields:
            requests[name]["seed"] = seed
    for text in parameters:
        name, parameter, value = _parsed(text)
        if name not in requests:
            method_named(name)
            raise ConfigError(f"--param {text}: {name} is not asked for", advice=f"Add --method {name}.")
        requests[name][parameter] = value
    for name, asked in requests.items():
        checked_parameters(name, asked)
    return requests


def _parsed(text: str) -> tuple[str, str, object]:
    import yaml  # late: asking for help needs none

    place, equals, value = text.partition("=")
    method, dot, parameter = place.strip().partition(".")
    if not (equals and dot and method and parameter):
        raise ConfigError(f"--param {text} is not METHOD.NAME=VALUE", advice=_SHAPE)
    try:
        return method, parameter, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--param {text}: the value can't be read", advice=_SHAPE) from error


def prevalences(texts: Iterable[str]) -> dict[str, float]:
    """Target → share (0..1) of 'TARGET=2%'; ConfigError where one is not written so."""
    from whyray.config import parse_share

    shares = {}
    for text in texts:
        name, equals, share = text.rpartition("=")
        try:
            shares[name.strip()] = parse_share(share)
        except ValueError as error:
            raise ConfigError(f"--prevalence {text}: {error}", advice="Write e.g. 'Lung Opacity=2%'.") from None
        if not (equals and name.strip()):
            raise ConfigError(f"--prevalence {text} names no target", advice="Write e.g. 'Lung Opacity=2%'.")
    return shares


def parameter_text(given: Mapping[str, object]) -> str:
    """Parameters as they are written after `--param`, without the method: 'masks=500, keep=0.5'."""
    return ", ".join(
        f"{name}={'null' if value is None else str(value).lower() if isinstance(value, bool) else value}"
        for name, value in given.items()
    )
