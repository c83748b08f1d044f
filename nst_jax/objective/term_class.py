"""How a class becomes one of terms: a frozen dataclass, and a pytree."""

import dataclasses
import inspect
from typing import Any, TypeVar, dataclass_transform

import jax

Kind = TypeVar("Kind", bound=type)
Value = TypeVar("Value")


def static(default: Value) -> Value:
    """A field of a term that decides the program, such as its layers.

    It is compared by value, and no lane varies it.
    """
    return dataclasses.field(default=default, metadata={"static": True})  # type: ignore[return-value]


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,)
)
def term(cls: Kind) -> Kind:
    """Makes a class of `Term` a frozen dataclass that JAX knows as a pytree.

    Example:
        >>> @term
        ... class MeanColour(Term):
        ...     layers = ("image",)
        ...     def measure(self, view, fields):
        ...         return {"image": jnp.sum(view.shares["image"] * view.features["image"], (0, 1))}
        ...     def distance(self, found, wanted):
        ...         return {"image": jnp.sum(jnp.square(found["image"] - wanted["image"]))}
    """
    inherited = {
        field.name: field
        for base in cls.__bases__
        if dataclasses.is_dataclass(base)
        for field in dataclasses.fields(base)
    }
    annotations = dict(inspect.get_annotations(cls))
    # a field's new default needs neither its type nor that it is static said again
    for name, value in list(vars(cls).items()):
        if name in inherited or isinstance(value, dataclasses.Field):
            annotations.setdefault(name, Any)
            if (
                name in inherited
                and inherited[name].metadata.get("static")
                and not isinstance(value, dataclasses.Field)
            ):
                setattr(cls, name, static(value))
    cls.__annotations__ = annotations
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    _register(made)
    return made


def _register(cls: type) -> None:
    """Makes a class of terms known to JAX as a pytree.

    `jax.tree_util.register_dataclass` would not do: of its classes (jaxlib 0.10 to 0.12) two with
    fields of the same values have structures that compare equal, and where their hashes meet, a
    program that was compiled for one term is run for the other.
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
