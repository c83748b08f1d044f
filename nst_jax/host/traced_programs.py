"""Programs on disk as they were traced, so that another process need not trace them again.

JAX finds a compiled program by its operations, which it knows once Python has traced and lowered
them: a quarter of the time until a run's first step on a CPU. This package's own programs are
decided by its sources, by the versions of what it calls, and by what they are called with, and so
are found by these. What is kept is JAX's portable form of the operations, which JAX compiles, or
finds compiled in its own cache.
"""

import hashlib
import inspect
import logging
import os
import pickle
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np
import optax
from jax.core import Tracer
from jax.tree_util import PyTreeDef

from nst_jax.host.drafts import draft_of

_LOG = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]
_MOST_FILES = 200  # of about 0.1 MB each
_DIGEST = hashlib.sha256().digest_size
_KNOWN = {"builtins", "jax", "jaxlib", "optax", _PACKAGE.name}
"""Packages whose classes do not change while the versions stay that a key names."""

_folder: Path | None = None
_found: dict[Path, Callable[..., Any]] = {}


def keep_in(folder: Path | None) -> None:
    """Makes `kept` look in a folder, and put there what it does not find; None ends that.

    Whoever can write there can run what they like as this user.
    """
    global _folder
    _folder = folder


def kept(
    program: Callable[..., Any],
    arguments: Sequence[Any],
    static: Mapping[str, Any],
    donated: int,
    **options: Any,
) -> Callable[..., Any]:
    """A jitted function of this package for such arguments, traced by an earlier process if it can.

    It is the function itself where nothing is kept, where a class of somebody else takes part,
    which may have changed, and on anything but a single CPU, where it was not tried.

    Args:
        program: The function, which calls nothing but this package, JAX, optax and NumPy.
        arguments: Such as it is to be called with.
        static: Its static arguments, by name.
        donated: Which of the arguments it overwrites.
        options: Others of `jax.jit` that it was given.
    """
    if _folder is None or not _SOURCES:
        return partial(program, **static)
    try:
        key = _key(program, arguments, static)
        if key is None:
            return partial(program, **static)
        path = _folder / key
        if path not in _found:
            held = _read(path)
            traced = held or _trace(program, arguments, static)
            _found[path] = _runnable(program.__name__, *traced, arguments, donated, options)
            # or what older sources do would be taken for what newer ones do
            if not held and _hash_of_sources() == _SOURCES:
                _write(path, traced)
        return _found[path]
    except Exception as error:  # of whatever kind: the function says what is wrong, if any is
        _LOG.debug("%s is not kept: %s", program.__name__, error)
        return partial(program, **static)


Traced = tuple[bytes, PyTreeDef]
"""The operations from leaves to leaves, and the tree of what they give."""


def _trace(
    program: Callable[..., Any], arguments: Sequence[Any], static: Mapping[str, Any]
) -> Traced:
    from jax import export  # takes time, and has what none but this needs

    leaves, structure = jax.tree.flatten(tuple(arguments))
    trees = []

    def flat(*leaves: Any) -> list[Any]:
        given = inspect.unwrap(program)(*jax.tree.unflatten(structure, leaves), **static)
        given_leaves, tree = jax.tree.flatten(given)
        trees.append(tree)
        return given_leaves

    return bytes(export.export(jax.jit(flat))(*leaves).serialize()), trees[0]


def _runnable(
    name: str,
    operations: bytes,
    tree: PyTreeDef,
    arguments: Sequence[Any],
    donated: int,
    options: Mapping[str, Any],
) -> Callable[..., Any]:
    from jax import export

    ends = np.cumsum([0, *(len(jax.tree.leaves(argument)) for argument in arguments)])
    overwritten = tuple(range(*ends[donated : donated + 2]))
    call = export.deserialize(bytearray(operations)).call
    by_name = lambda *leaves: call(*leaves)
    by_name.__name__ = name  # by which JAX's profiles and cache call it
    run = jax.jit(by_name, donate_argnums=overwritten, **options)
    return lambda *arguments: jax.tree.unflatten(tree, run(*jax.tree.leaves(arguments)))


def _read(path: Path) -> Traced | None:
    try:
        content = path.read_bytes()
        digest, held = content[:_DIGEST], content[_DIGEST:]
        # JAX would read on, and fail when the program is called
        if digest != hashlib.sha256(held).digest():
            raise ValueError("it is damaged")
        found = pickle.loads(held)
    except Exception as error:  # of whatever kind: it is traced anew
        _LOG.debug("%s cannot be read: %s", path, error)
        return None
    with suppress(OSError):
        os.utime(path)  # so that it is among the last to go
    return found


def _write(path: Path, traced: Traced) -> None:
    content = pickle.dumps(traced)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with draft_of(path) as draft:
            draft.write_bytes(hashlib.sha256(content).digest() + content)
        by_age = sorted(path.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in by_age[:-_MOST_FILES]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _LOG.debug("%s is not kept: %s", path, error)


def _key(
    program: Callable[..., Any], arguments: Sequence[Any], static: Mapping[str, Any]
) -> str | None:
    """A hash of all that decides the operations; None where that cannot be told."""
    leaves, structure = jax.tree.flatten(tuple(arguments))
    classes = [*_classes(structure), *map(type, static.values())]
    if (
        jax.default_backend() != "cpu"
        or jax.device_count() != 1
        or jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
        or any(isinstance(leaf, Tracer) for leaf in leaves)
        or not all(cls.__module__.partition(".")[0] in _KNOWN for cls in classes)
    ):
        return None
    kinds = [(kind.shape, kind.dtype, kind.weak_type) for kind in map(jax.typeof, leaves)]
    called = program.__module__, program.__qualname__, classes, str(structure), kinds, dict(static)
    decides = repr((called, _SOURCES, _versions(), _settings()))
    if " at 0x" in decides:  # a function, say, of which nothing but its place is known
        return None
    return hashlib.sha256(decides.encode()).hexdigest()


def _classes(structure: PyTreeDef) -> Iterator[type]:
    """Those of a tree's nodes."""
    node = structure.node_data()
    if node is not None:
        yield node[0]
        for child in structure.children():
            yield from _classes(child)


def _versions() -> list[str]:
    packages = jax, jaxlib, optax, np
    return [platform.python_version(), *(package.__version__ for package in packages)]


def _settings() -> dict[str, Any]:
    """JAX's, some of which decide what is traced."""
    return {
        name: getattr(jax.config, name, value)  # a context manager's, where there is one
        for name, value in sorted(jax.config.values.items())
        if "cache" not in name  # whose folder differs from process to process
    }


def _hash_of_sources() -> str:
    """Empty where there are none to be read."""
    found = hashlib.sha256()
    try:
        paths = sorted(_PACKAGE.rglob("*.py"))
        for path in paths:
            content = path.read_bytes()
            found.update(f"{path.relative_to(_PACKAGE)} {len(content)} ".encode() + content)
    except OSError:
        return ""
    return found.hexdigest() if paths else ""


_SOURCES = _hash_of_sources()
"""As this process imports them."""
