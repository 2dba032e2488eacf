"""Which of PyYAML's two parsers reads a text: libyaml's is ten times as fast, and its own can't be made to crash."""

from __future__ import annotations

import yaml

_MOST_FLOW = 2000
_MOST_INDENT = 200


def libyaml_may_read(text: str) -> bool:
    """Whether libyaml is there, and `text` can't be nested so deeply that its recursion would end the process.

    A flow collection begins with a bracket or brace, a block collection with a deeper column than what it is in: by
    spaces, or by '- ' or '? ' in one line. So both are counted, in texts and comments too, where they do no harm.
    """
    if not yaml.__with_libyaml__ or text.count("[") + text.count("{") > _MOST_FLOW:
        return False
    return all(
        len(line) - len(line.lstrip(" ")) + line.count("- ") + line.count("? ") <= _MOST_INDENT
        for line in text.splitlines()
    )


def load_plain_yaml(text: str) -> object:
    """What `yaml.safe_load` gives, and its errors."""
    if libyaml_may_read(text):
        try:
            return yaml.load(text, Loader=yaml.CSafeLoader)  # nosec B506  # as safe as SafeLoader
        except yaml.YAMLError:
            pass  # told in the words of PyYAML's own parser, below
    return yaml.safe_load(text)
