"""From plain mappings (YAML, JSON) to frozen dataclasses, with errors that name the key and its neighbour."""

import dataclasses
import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vocoder.errors import UserError

T = TypeVar("T")


def from_mapping(cls: type[T], mapping: Any, where: str = "") -> T:
    """An instance of the dataclass `cls` from a mapping of its fields; `where` prefixes names in errors.

    Nested dataclasses, tuples, Literals and optional types are followed; an int serves as a float.

    Raises:
        UserError: an unknown or missing key, or a value of another type.
    """
    if not isinstance(mapping, Mapping):
        raise UserError(f"{where or 'config'}: must be a mapping of settings, not {mapping!r}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise UserError(f"unknown setting {_join(where, key)}{suggestion(str(key), fields)}")
    for name, field in fields.items():
        if name not in mapping and field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(f"missing setting {_join(where, name)}")
    hints = get_type_hints(cls)
    return cls(**{key: _convert(value, hints[key], _join(where, key)) for key, value in mapping.items()})


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """'a.b 1 then, 2 now' for every value in which two nested mappings differ."""
    for key in theirs.keys() | ours.keys():
        a, b = theirs.get(key), ours.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key} {a} then, {b} now"


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of nested dataclasses by their dotted names."""
    if not dataclasses.is_dataclass(value):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        flat |= flattened(getattr(value, field.name), _join(prefix, field.name))
    return flat


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """' (did you mean X?)' for the candidate most like `name`; all of them where none is alike."""
    names = sorted(candidates)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (there are: {', '.join(names)})" if names else ""


def _join(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _convert(value: Any, hint: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_mapping(hint, value, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value in arguments:
            return value
        raise UserError(f"{where}={value}: unknown{suggestion(str(value), map(str, arguments))}")
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _convert(value, inner, where)
    if origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_convert(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(value))
        raise UserError(f"{where}={value!r}: must be a list")
    if hint is Any or (origin is dict and isinstance(value, Mapping)):
        return value
    if origin is dict:
        raise UserError(f"{where}={value!r}: must be a mapping")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a name like 7, which YAML takes for a number
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise UserError(f"{where}={value!r}: must be {_NAMES.get(hint, hint)}")


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
