"""How a class becomes one of terms: a frozen dataclass, and a pytree."""

import dataclasses
import inspect
from typing import Any, TypeVar, dataclass_transform

from nst_jax.pytrees import Kind, register

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
    register(made)
    return made
