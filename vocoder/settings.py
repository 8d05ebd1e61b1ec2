"""Frozen dataclasses from plain mappings (YAML, JSON). Errors name the key and suggest the closest valid one."""

import dataclasses
import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vocoder.errors import UserError

T = TypeVar("T")


def from_mapping(cls: type[T], mapping: Any, prefix: str = "") -> T:
    """Make an instance of the dataclass `cls` from a mapping of its fields.

    Nested dataclasses, tuples, Literals and optional types are converted as well; an int is accepted as a float.

    Args:
        prefix: put before the names of settings in errors.

    Raises:
        UserError: a key is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(mapping, Mapping):
        raise UserError(f"{prefix or 'config'}: must be a mapping of settings, not {mapping!r}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise unknown_setting(_join(prefix, key), str(key), fields)
    for name, field in fields.items():
        if name not in mapping and field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(f"missing setting {_join(prefix, name)}")
    hints = get_type_hints(cls)
    return cls(**{key: _convert(value, hints[key], _join(prefix, key)) for key, value in mapping.items()})


def text_settings(cls: type, prefix: str = "") -> dict[str, bool]:
    """The dotted names of the fields of nested dataclasses that hold text, and whether each is a list of it."""
    found: dict[str, bool] = {}
    for name, hint in get_type_hints(cls).items():
        hint = next((inner for inner in _members(hint) if inner is not type(None)), hint)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            found |= text_settings(hint, _join(prefix, name))
        elif _is_text(hint):
            found[_join(prefix, name)] = False
        elif get_origin(hint) is tuple and _is_text(get_args(hint)[0]):
            found[_join(prefix, name)] = True
    return found


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union; those of other hints are none."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()


def _is_text(hint: Any) -> bool:
    return hint is str or (get_origin(hint) is Literal and all(isinstance(value, str) for value in get_args(hint)))


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield 'a.b 1 then, 2 now' for every value that differs between two nested mappings."""
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key} {old} then, {new} now"


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of nested dataclasses under dotted names."""
    if not dataclasses.is_dataclass(value):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        flat |= flatten(getattr(value, field.name), _join(prefix, field.name))
    return flat


def unknown_setting(name: str, key: str, candidates: Iterable[str]) -> UserError:
    """The error about setting `name`, which suggests the candidate closest to its misspelt part `key`."""
    return UserError(f"unknown setting {name}{suggestion(key, candidates)}")


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """' (did you mean X?)' with the candidate closest to `name`, or a list of all candidates if none is close."""
    names = sorted(candidates)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (available: {', '.join(names)})" if names else ""


def _join(prefix: str, key: Any) -> str:
    return f"{prefix}.{key}" if prefix else str(key)


def _convert(value: Any, hint: Any, name: str) -> Any:
    """`value` as the type `hint`; `name` is that of the setting, for errors."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_mapping(hint, value, name)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value in arguments:
            return value
        raise UserError(f"{name}={value}: unknown{suggestion(str(value), map(str, arguments))}")
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        *words, inner = sorted(
            (a for a in arguments if a is not type(None)), key=lambda a: get_origin(a) is not Literal
        )
        if any(value in get_args(word) for word in words):
            return value
        try:
            return _convert(value, inner, name)
        except UserError as error:
            raise UserError(" or ".join([str(error), *(str(a) for word in words for a in get_args(word))])) from None
    if origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_convert(item, arguments[0], f"{name}[{i}]") for i, item in enumerate(value))
        raise UserError(f"{name}={value!r}: must be a list")
    if hint is Any or (origin is dict and isinstance(value, Mapping)):
        return value
    if origin is dict:
        raise UserError(f"{name}={value!r}: must be a mapping")
    return _convert_scalar(value, hint, name)


def _convert_scalar(value: Any, hint: type, name: str) -> Any:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if is_int and hint in (int, float) and not -(2**63) <= value < 2**63:
        raise UserError(f"{name}={value}: must be from -2^63 to 2^63 - 1")  # what torch and numpy take
    if hint is float and is_int:
        return float(value)
    if hint is str and is_int:
        return str(value)  # YAML reads a name like 7 as a number
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise UserError(f"{name}={value!r}: must be {_TYPE_NAMES.get(hint, hint)}")


_TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
