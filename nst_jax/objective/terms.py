"""What a loss is made of: terms.

Each measures something that adds up over positions, and compares it.

    loss = content() + 20 * style() + 0.1 * MyTerm(layers=("conv3_1",))

A term is a frozen dataclass and a pytree: weights and other numbers are its leaves, which lanes may
vary; layers and names are static. So one term serves whole images, tiles, devices that share the
rows, lanes, studies and checkpoints, and needs to know of none of them.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nst_jax.checks import ConfigError
from nst_jax.objective.term_class import static, term
from nst_jax.objective.views import View

Fields = Mapping[str, Array]
"""What is wanted by position, by layer: (height, width, …), cut and dealt out as features are."""

Parts = dict[str, Array]
"""Scalars by part, which is a layer, or `"all"`."""

Source = Literal["content", "style"]

TINY = 1e-30
"""What a distance counts at least for where it is divided by: a layer that nothing reaches has
nothing to keep."""


@term
class Term:
    """One term of a loss. Its methods are pure functions of arrays; all but two have a default.

    Given a view of an image, `measure` says what is found there. The same of the `source` image is
    prepared by `aim`, once, and is what is wanted. `distance` compares the two, part by part; each
    part is multiplied by its `scale`, which is found once too, its weight, and the term's `weight`.

    Numbers that lanes may vary are single ones: an array in a field that is not static means one a
    lane.

    Args:
        weight: What the term counts.
        part_weights: What each of its parts counts; None weighs all alike, summing to 1.
        layers: Layers that it sees; the pixels are `"image"`.
        source: The image that it aims at, `"content"` or `"style"`.
        region: The region whose positions it measures, where a run has regions, which sets it;
            None for the whole image.
        style_mix: Shares of several style images in what is wanted; those of the run if empty.

    Attributes:
        reach: Pixels that `measure` reads beyond a position's own where what it makes of them is
            not linear, such as differences between neighbours. What a layer sees of the image
            counts without it.
        is_balanced: Whether its parts are weighed anew where layers are to pull alike.
    """

    reach: ClassVar[int] = 0
    is_balanced: ClassVar[bool] = True

    weight: Any = 1.0
    part_weights: Mapping[str, Any] | None = None
    layers: tuple[str, ...] = static(())
    source: Source = static("style")
    region: str | None = static(None)
    style_mix: tuple[float, ...] = static(())

    @classmethod
    def default_name(cls) -> str:
        """What the term is called in records where it is given no name."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def fields(self, view: View) -> Fields:
        """What of the source image is wanted at each position; nothing by default."""
        del view
        return {}

    def measure(self, view: View, fields: Fields) -> Any:
        """What is found in a view, as arrays that add up over tiles.

        So they are sums over positions weighed by their shares.
        """
        raise NotImplementedError(f"{type(self).__name__} lacks the method measure(view, fields)")

    def blend(self, measured: Sequence[Any], shares: Sequence[Any]) -> Any:
        """The measure of several source images in a mixture: by default the weighted mean.

        Args:
            measured: The measure of each.
            shares: What each counts; they sum to 1.
        """
        return jax.tree.map(
            lambda *leaves: sum(share * leaf for share, leaf in zip(shares, leaves, strict=True)),
            *measured,
        )

    def aim(self, measured: Any) -> Any:
        """What is wanted, from the measure of the source image."""
        return measured

    def stack(self, wanted: Sequence[Any]) -> Any:
        """What is wanted in several lanes, with a leading axis of them.

        Where `aim` gives arrays whose sizes are the source image's, a term has this method too, and
        makes them alike.

        Raises:
            ConfigError: They differ in size.
        """
        sizes = {tuple(map(jnp.shape, jax.tree.leaves(own))) for own in wanted}
        if len(sizes) > 1:
            raise ConfigError(
                f"what {type(self).__name__} wants differs in size between lanes; give style "
                "images of one size, or its class a method stack(wanted) that makes them alike"
            )
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *wanted)

    def distance(self, found: Any, wanted: Any) -> Parts:
        """How far what was found is from what is wanted, by part."""
        raise NotImplementedError(f"{type(self).__name__} lacks the method distance(found, wanted)")

    def scale(self, nothing: Any, wanted: Any, shapes: Mapping[str, tuple[int, ...]]) -> Parts:
        """What each part is multiplied by.

        By default a black image is at distance 1, so that weights serve any size and network.

        Args:
            nothing: The measure of an image that excites no filter.
            wanted: From `aim`.
            shapes: Of the generated image's layers, (height, width, channels), the pixels' among
                them.
        """
        del shapes
        return {
            part: 1 / jnp.maximum(value, TINY)
            for part, value in self.distance(nothing, wanted).items()
        }

    __array_ufunc__ = None  # so that an array leaves its product with a term to the term

    def __mul__(self, factor: Any) -> "Term":
        weight, factor = (
            np.asarray(number) if isinstance(number, list | tuple) else number
            for number in (self.weight, factor)
        )
        return dataclasses.replace(self, weight=weight * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "Term":
        return self * (1 / divisor)

    def __add__(self, other: "Term | Loss") -> "Loss":
        return Loss({self.default_name(): self}) + other

    def __radd__(self, other: Any) -> "Loss":
        return Loss({self.default_name(): self}).__radd__(other)


@jax.tree_util.register_pytree_with_keys_class
class Loss(Mapping[str, Term]):
    """A weighted sum of terms by name, as `content() + 20 * style()` makes one.

    Args:
        terms: By the names that histories, records and reports give them.

    Example:
        >>> coarse, fine = 5 * style(layers=("conv4_1",)), style(layers=("conv1_1",))
        >>> loss = Loss({"shapes": content(), "coarse": coarse, "fine": fine})
    """

    def __init__(self, terms: Mapping[str, Term]) -> None:
        self._terms = dict(terms)

    def check(self) -> None:
        """Makes sure that there are terms, and that JAX knows their classes.

        Raises:
            ConfigError: It is not so.
        """
        if not self:
            raise ConfigError("the loss has no terms; give nst.content() + 20 * nst.style(), say")
        for name, part in self.items():
            if not isinstance(part, Term) or jax.tree_util.all_leaves([part]):
                raise ConfigError(
                    f"the term {name} is {part!r}, no term; make a class of nst.Term, "
                    "with the decorator @nst.term"
                )
            if isinstance(part.layers, str):
                raise ConfigError(
                    f"layers of the term {name} is the text {part.layers!r}; give a tuple "
                    f"of names, such as ({part.layers!r},)"
                )
            if not part.layers:
                raise ConfigError(
                    f"the term {name} has no layers; name those that it sees, such as "
                    "layers=('conv3_1',)"
                )
            if part.source not in get_args(Source):
                raise ConfigError(
                    f"the term {name} aims at {part.source!r}; its source must be one of "
                    f"{', '.join(get_args(Source))}"
                )
            if part.region is not None:
                raise ConfigError(
                    f"the term {name} names the region {part.region!r}; leave that out, and give "
                    "the regions to the run, which makes a term for each"
                )
            if not isinstance(part.part_weights, Mapping | None):
                raise ConfigError(
                    f"part_weights of the term {name} is {part.part_weights!r}; give a weight by "
                    "part, such as {'conv1_1': 1.0}"
                )
            if any(own is None for own in (part.weight, *(part.part_weights or {}).values())):
                raise ConfigError(
                    f"a weight of the term {name} is None; give a number, 0 to leave it out"
                )

    def __getitem__(self, name: str) -> Term:
        return self._terms[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)

    def __repr__(self) -> str:
        return f"Loss({self._terms!r})"

    def __add__(self, other: "Term | Loss") -> "Loss":
        more = {other.default_name(): other} if isinstance(other, Term) else other
        for name in more:
            if name in self:
                raise ConfigError(
                    f"the loss has two terms called {name}; name them yourself: "
                    "Loss({'first': …, 'second': …})"
                )
        return Loss({**self, **more})

    def __radd__(self, other: Any) -> "Loss":
        # where `sum` begins
        return self if isinstance(other, int) and other == 0 else NotImplemented

    __array_ufunc__ = None

    def __mul__(self, factor: Any) -> "Loss":
        return Loss({name: part * factor for name, part in self.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "Loss":
        return self * (1 / divisor)

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Term]], tuple[str, ...]]:
        return [(jax.tree_util.DictKey(name), part) for name, part in self.items()], tuple(self)

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], terms: Any) -> "Loss":
        return cls(dict(zip(names, terms, strict=True)))

    def of(self, source: Source) -> "Loss":
        """The terms that aim at one of the images."""
        return Loss({name: part for name, part in self.items() if part.source == source})

    def within(self, region: str | None) -> "Loss":
        """The terms that measure one of the regions; None for those of the whole image."""
        return Loss({name: part for name, part in self.items() if part.region == region})

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that a term sees, once."""
        return tuple(dict.fromkeys(layer for part in self.values() for layer in part.layers))

    @property
    def reach(self) -> int:
        """The farthest reach of its terms, in pixels."""
        return max((part.reach for part in self.values()), default=0)
