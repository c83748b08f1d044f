"""Public functions are quick without `jax.jit`, too."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.core import Tracer

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled_alone(*static: str) -> Callable[[Function], Function]:
    """Makes a decorator: outside of all transformations, the function is compiled as a whole.

    One operation after another, each compiled by itself, it would take twice the time. Within a
    transformation it is the function itself, for whoever called that to compile. As ever under
    `jax.jit`, what it reads beside its arguments must not change.

    Args:
        static: Names of the arguments that are hashable values instead of arrays.

    Example:
        >>> @compiled_alone("times")
        ... def scaled(image, times):
        ...     return times * image
    """

    def decorate(function: Function) -> Function:
        compiled = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            is_traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, kwargs)))
            return (function if is_traced else compiled)(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate
