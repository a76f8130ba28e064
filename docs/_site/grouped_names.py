"""Our docstrings name arguments of one kind together (``ra, dec: deg``); griffe wants one a line."""

from __future__ import annotations

import re
from typing import Any

import griffe

_GROUP = re.compile(r"^(?P<indent>\s+)(?P<names>\*?\w+(?:, \*?\w+)+):(?P<text> .*)$")


class GroupedNames(griffe.Extension):
    """Gives each name of a group its own entry; all but the last refer to the last, which has the text."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is None:
            return
        text = separated(obj.docstring.value)
        if obj.is_class and "__init__" not in obj.members:
            # A configuration: its annotated fields are the arguments, as transformers makes them.
            text = re.sub(r"^Args:$", "Attributes:", text, flags=re.MULTILINE)
        obj.docstring.value = text


def separated(docstring: str) -> str:
    lines = []
    for line in docstring.splitlines():
        match = _GROUP.match(line)
        if match is None:
            lines.append(line)
            continue
        *others, last = match["names"].split(", ")
        lines += [f"{match['indent']}{name}: see `{last}`." for name in others]
        lines.append(f"{match['indent']}{last}:{match['text']}")
    return "\n".join(lines)
