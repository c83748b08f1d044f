"""Frozen dataclasses that JAX knows as pytrees."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

Kind = TypeVar("Kind", bound=type)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def pytree(cls: Kind) -> Kind:
    """Makes a class a frozen dataclass whose fields are the branches of a tree.

    As `flax.struct.dataclass` does, for which all of flax would be imported, a third of a second.

    Example:
        >>> @pytree
        ... class Pair:
        ...     first: Any
        ...     second: Any
        >>> jax.tree.map(lambda number: 2 * number, Pair(1, 2))
        Pair(first=2, second=4)
    """
    made = dataclasses.dataclass(frozen=True)(cls)
    register(made)
    return made


def register(cls: type) -> None:
    """Makes a dataclass known to JAX; fields of the metadata `static` are compared by value.

    `jax.tree_util.register_dataclass` would not do: of its classes (jaxlib 0.10 to 0.12) two with
    fields of the same values have structures that compare equal, and where their hashes meet, a
    program that was compiled for one is run for the other.
    """
    leaves, structure = [], []
    for field in dataclasses.fields(cls):
        if not field.init:
            raise ValueError(f"the field {field.name} of {cls.__name__} is not given to its class")
        (structure if field.metadata.get("static") else leaves).append(field.name)
    keys = [jax.tree_util.GetAttrKey(name) for name in leaves]

    def flatten(made: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        values = lambda names: tuple(getattr(made, name) for name in names)
        return values(leaves), values(structure)

    def flatten_with_keys(made: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        children, static_values = flatten(made)
        return tuple(zip(keys, children, strict=True)), static_values

    def unflatten(static_values: tuple[Any, ...], children: Any) -> Any:
        values = dict(zip((*leaves, *structure), (*children, *static_values), strict=True))
        return cls(**values)

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
