"""Parts of the picture, as what several runs have in common."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nst_jax.descent.keep import checked_keep
from nst_jax.objective.regions import Region, checked_regions


class Areas(NamedTuple):
    """Parts of the picture.

    Args:
        regions: Where the styles are; none where they are everywhere.
        keep: How much of each pixel stays the content's; None where nothing does.
    """

    regions: Sequence[Region] = ()
    keep: Any = None


NO_AREAS = Areas()


def checked_areas(
    areas: Areas, shape: tuple[int, ...], style_shapes: Sequence[Sequence[int]]
) -> Areas:
    """The areas of a content image of that shape, with style images of those.

    Raises:
        ConfigError: They do not fit.
    """
    return Areas(
        checked_regions(areas.regions, shape, style_shapes), checked_keep(areas.keep, shape)
    )
