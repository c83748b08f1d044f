"""Parts of records, which can have the fields of a dataclass beside their own."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType


class Part(Struct, kw_only=True, forbid_unknown_fields=True):
    """A part of a record."""


P = TypeVar("P", bound=Part)


def fields_of(
    kind: type,
    names: Collection[str] | None = None,
    leave_out: Collection[str] = (),
    or_none: Collection[str] = (),
    or_unset: bool = False,
) -> list[tuple[Any, ...]]:
    """The fields of a dataclass as those of a `Part`: without defaults, for a record says it all.

    Args:
        kind: The dataclass.
        names: Those that are taken; all if left out.
        leave_out: Those that are not.
        or_none: Those that may be None, too.
        or_unset: Whether each may be absent.
    """
    hints: Mapping[str, Any] = get_type_hints(kind)
    found: list[tuple[Any, ...]] = []
    for field in _chosen(kind, names, leave_out):
        hint = hints[field.name]
        if get_origin(hint) is Literal:  # so that an error says which words there are
            hint = _one_of(*get_args(hint))
        hint = hint | None if field.name in or_none else hint
        found.append((field.name, hint | UnsetType, UNSET) if or_unset else (field.name, hint))
    return found


def _one_of(*words: str) -> Any:
    return Annotated[str, Meta(pattern=f"^({'|'.join(words)})$")]


def beside(*fields: list[tuple[Any, ...]]) -> Callable[[type[P]], type[P]]:
    """Gives a class further fields, beside its own."""

    def extended(own: type[P]) -> type[P]:
        every = [field for group in fields for field in group]
        made = msgspec.defstruct(
            own.__name__, every, bases=(own,), module=own.__module__, kw_only=True
        )
        made.__doc__ = own.__doc__
        return cast(type[P], made)

    return extended


def values_of(
    source: object,
    kind: type,
    names: Collection[str] | None = None,
    leave_out: Collection[str] = (),
) -> dict[str, Any]:
    """The fields of a dataclass, by name, as an object has them; those that it lacks are absent.

    Args:
        source: The object.
        kind: The dataclass.
        names: As in `fields_of`.
        leave_out: As in `fields_of`.
    """
    return {
        field.name: getattr(source, field.name)
        for field in _chosen(kind, names, leave_out)
        if hasattr(source, field.name)
    }


def _chosen(
    kind: type, names: Collection[str] | None, leave_out: Collection[str]
) -> list[dataclasses.Field[Any]]:
    return [
        field
        for field in dataclasses.fields(kind)
        if field.name not in leave_out and (names is None or field.name in names)
    ]
