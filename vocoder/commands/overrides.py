"""Arguments as they were typed: Hydra's grammar would read a name like 2024_01_15 as a number, and paths not at all."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

OVERRIDE = re.compile(r"(\+{0,2}([\w.]+)=)(.*)", re.DOTALL)
ITEM = re.compile(r"""\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^,]*?)\s*(?:,|$)""", re.DOTALL)


def as_typed(argument: str, paths: Iterable[str], texts: Mapping[str, bool], sweep: bool) -> str:
    """An override that Hydra reads as the text that was typed, where KEY in KEY=VALUE takes text.

    Args:
        argument: from the command line.
        paths: settings that are paths; ~ is expanded in them.
        texts: settings that are text, and whether each is a list.
        sweep: whether commas separate values, as with --multirun; never in paths.
    """
    match = OVERRIDE.fullmatch(argument)
    if match is None:
        return argument
    start, key, value = match.groups()
    if key in paths:
        return start + _quoted(value if value[:1] in ("'", '"') else os.path.expanduser(value))
    if key not in texts or (sweep and _is_function(value)):
        return argument
    if texts[key] and value.startswith("[") and value.endswith("]") and not (sweep and "],[" in value):
        return f"{start}[{','.join(map(_quoted, _items(value[1:-1])))}]"
    return start + (",".join(map(_quoted, _items(value))) if sweep else _quoted(value))


def _items(text: str) -> list[str]:
    """The parts between commas; commas inside quotes do not count."""
    return [match[1] for match in ITEM.finditer(text)][: None if text.endswith(",") else -1] if text else []


def _is_function(value: str) -> bool:
    """Whether it is one of Hydra's sweeps, as choice(a,b)."""
    return re.fullmatch(r"(choice|range|interval|glob|shuffle|sort|tag)\(.*\)", value) is not None


def _quoted(value: str) -> str:
    """The value in quotes, unless Hydra reads it as this text anyway; or null, or quoted already."""
    try:
        read: Any = OverridesParser.create().parse_override(f"key={value}").value()
    except (HydraException, ValueError):
        read = NotImplemented
    quoted = value[:1] in ("'", '"')
    if read is None or (isinstance(read, str) and (quoted or read == value)):
        return value
    # Backslashes before a quote escape it, or each other; all others stand for themselves.
    escaped = re.sub(r'(\\*)("|$)', lambda match: 2 * match[1] + ('\\"' if match[2] else ""), value)
    return f'"{escaped}"'
