"""Programs on disk as they were traced, so that another process need not trace them again.

JAX finds a compiled program by its operations, which it knows once Python has traced and lowered
them: a third of the time until a run's first step on a CPU. This package's own programs are decided
by its sources, by the versions of what it calls, and by what they are called with, and so are found
by these. What is kept is JAX's portable form of the operations, which JAX compiles, or finds
compiled in its own cache.
"""

import hashlib
import inspect
import logging
import os
import pickle
import platform
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np
import optax
from jax.core import Tracer
from jax.tree_util import PyTreeDef

_LOG = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]
_MOST_FILES = 200  # of about 0.1 MB
_KNOWN = {"builtins", "jax", "jaxlib", "optax", _PACKAGE.name}
"""Packages whose classes do not change while the versions stay that a key names."""


@dataclass(frozen=True)
class _Store:
    folder: Path
    sources: str
    """The hash of the package's, as this process has imported them."""


_store: _Store | None = None
_found: dict[Path, Callable[..., Any]] = {}


def keep_in(folder: Path | None) -> None:
    """Makes `kept` look in a folder, and put there what it does not find; None ends that.

    Whoever can write there can run what they like as this user.
    """
    global _store
    sources = _hash_of_sources()
    _store = _Store(folder, sources) if folder is not None and sources else None


def kept(
    program: Callable[..., Any],
    arguments: Sequence[Any],
    static: Mapping[str, Any],
    donated: int | None = None,
    **options: Any,
) -> Callable[..., Any]:
    """A jitted function of this package for such arguments, traced by an earlier process if it can.

    It is the function itself where nothing is kept, on anything but a single CPU (not tried), and
    where a class of somebody else takes part, which may have changed.

    Args:
        program: The function, which calls nothing but this package, JAX, optax and NumPy.
        arguments: Such as it is to be called with.
        static: Its static arguments, by name.
        donated: Which of the arguments it was told to overwrite.
        options: Others of `jax.jit` that it was given.
    """
    key = None if _store is None else _key(program, arguments, static, _store.sources)
    if _store is None or key is None:
        return partial(program, **static)
    path = _store.folder / key
    if path not in _found:
        try:
            held = _read(path)
            traced = held or _trace(program, arguments, static)
            _found[path] = _runnable(program.__name__, *traced, arguments, donated, options)
        except Exception as error:  # of whatever kind: the function says what is wrong, if any is
            _LOG.debug("%s is traced by itself: %s", path, error)
            return partial(program, **static)
        # or what older sources do would be taken for what newer ones do
        if not held and _hash_of_sources() == _store.sources:
            _write(path, traced)
    return _found[path]


Traced = tuple[bytes, PyTreeDef]
"""The operations from leaves to leaves, and the tree of what they give."""


def _trace(
    program: Callable[..., Any], arguments: Sequence[Any], static: Mapping[str, Any]
) -> Traced:
    from jax import export  # takes time, and has what none but this needs

    leaves, structure = jax.tree.flatten(tuple(arguments))
    trees = []

    def flat(*leaves: Any) -> list[Any]:
        found = inspect.unwrap(program)(*jax.tree.unflatten(structure, leaves), **static)
        found, tree = jax.tree.flatten(found)
        trees.append(tree)
        return found

    return bytes(export.export(jax.jit(flat))(*leaves).serialize()), trees[0]


def _runnable(
    name: str,
    operations: bytes,
    tree: PyTreeDef,
    arguments: Sequence[Any],
    donated: int | None,
    options: Mapping[str, Any],
) -> Callable[..., Any]:
    from jax import export

    ends = np.cumsum([0, *(len(jax.tree.leaves(argument)) for argument in arguments)])
    own = () if donated is None else tuple(range(*ends[donated : donated + 2]))
    call = export.deserialize(bytearray(operations)).call
    by_name = lambda *leaves: call(*leaves)
    by_name.__name__ = name  # by which JAX's profiles and cache call it
    run = jax.jit(by_name, donate_argnums=own, **options)
    return lambda *arguments: jax.tree.unflatten(tree, run(*jax.tree.leaves(arguments)))


def _read(path: Path) -> Traced | None:
    try:
        found = pickle.loads(path.read_bytes())
    except Exception as error:  # of whatever kind: it is traced anew
        _LOG.debug("%s cannot be read: %s", path, error)
        return None
    with suppress(OSError):
        os.utime(path)  # so that it is among the last to go
    return found


def _write(path: Path, traced: Traced) -> None:
    own = path.with_name(f".{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        own.write_bytes(pickle.dumps(traced))
        own.replace(path)
        others = sorted(path.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in others[:-_MOST_FILES]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _LOG.debug("%s is not kept: %s", path, error)
        with suppress(OSError):
            own.unlink(missing_ok=True)


def _key(
    program: Callable[..., Any], arguments: Sequence[Any], static: Mapping[str, Any], sources: str
) -> str | None:
    """What decides the operations, in a word; None where that cannot be told."""
    leaves, structure = jax.tree.flatten(tuple(arguments))
    if (
        jax.default_backend() != "cpu"
        or jax.device_count() != 1
        or jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
        or any(isinstance(leaf, Tracer) for leaf in leaves)
        or not _is_known(structure)
        or not all(map(_is_of_known, map(type, static.values())))
    ):
        return None
    kinds = [(kind.shape, kind.dtype, kind.weak_type) for kind in map(jax.typeof, leaves)]
    called = program.__module__, program.__qualname__, str(structure), kinds, dict(static)
    decides = repr((called, sources, _versions(), _settings()))
    if " at 0x" in decides:  # a function, say, of which nothing but its place is known
        return None
    return hashlib.sha256(decides.encode()).hexdigest()


def _is_known(structure: PyTreeDef) -> bool:
    """Whether all classes in a tree are of packages whose versions a key names."""
    node = structure.node_data()
    return node is None or (_is_of_known(node[0]) and all(map(_is_known, structure.children())))


def _is_of_known(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in _KNOWN


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
            found.update(path.read_bytes())
    except OSError:
        return ""
    return found.hexdigest() if paths else ""
