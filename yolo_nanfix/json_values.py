"""Values as JSON and back: a dataclass by its fields, an enum by its value, a tuple as a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class JsonValue:
    """A dataclass that reports and other processes get as JSON."""

    strict: ClassVar[bool] = False
    """Whether `from_dict` refuses keys that are no fields, rather than ignores them."""

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict with a key for each field."""
        return {name: _plain(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls: type[T], values: Any) -> T:
        """What `as_dict` wrote; a field that is absent or null has its default.

        Raises:
            ValueError: a key is missing, or a value is not of its type; the message says which.
        """
        found: T = _from_mapping(cls, values)
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, JsonValue):
        return value.as_dict()
    if is_dataclass(value):
        return {name: _plain(held) for name, held in vars(value).items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {name: _plain(held) for name, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, (tuple, list)) else value


def _from_mapping(cls: Any, values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(f"{cls.__name__} is a mapping, not {type(values).__name__}")
    names = [field.name for field in fields(cls)]
    unknown = [name for name in values if name not in names]
    if unknown and getattr(cls, "strict", False):
        raise ValueError(f"{cls.__name__} has no key '{unknown[0]}'; known: {', '.join(names)}")
    read: dict[str, Any] = {}
    for field in fields(cls):
        kind, value = _kinds(cls)[field.name], values.get(field.name)
        if value is not None:
            read[field.name] = _read(kind, value, f"{cls.__name__}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            if NoneType not in get_args(kind):
                raise ValueError(f"{cls.__name__} has no {field.name!r}")
            read[field.name] = None
    return cls(**read)


@cache
def _kinds(cls: type) -> dict[str, Any]:
    """The types of the fields of a dataclass."""
    return get_type_hints(cls)


def _read(kind: Any, value: Any, what: str) -> Any:
    """A value of JSON as a value of a type, which may be generic; raises ValueError where it is none."""
    if NoneType in get_args(kind):
        (kind,) = set(get_args(kind)) - {NoneType}
    inner = get_args(kind)
    if kind is Any:
        return tuple(_read(Any, held, what) for held in value) if isinstance(value, (list, tuple)) else value
    if is_dataclass(kind):
        return _from_mapping(kind, value)
    if get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        return tuple(_read(inner[0], held, what) for held in value)
    if get_origin(kind) is Mapping and isinstance(value, Mapping):
        return {str(name): _read(inner[1], held, what) for name, held in value.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    allowed = inner if get_origin(kind) is UnionType else (kind,)
    if float in allowed:
        allowed = (*allowed, int)
        value = float(value) if value in ("nan", "inf", "-inf") else value  # as `files.json_text` writes them
    if get_origin(kind) in (tuple, Mapping) or type(value) not in allowed:
        raise ValueError(f"{what} is {type(value).__name__}, not {getattr(kind, '__name__', kind)}")
    return value
