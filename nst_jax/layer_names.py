"""Names of layers, the paper's and other programs', and of the parts of terms in tables."""

import re
from collections.abc import Collection

_COLUMNS = {"lane", "status", "reason", "steps", "best_step", "best_loss", "seconds", "lpips"}
"""Of a study's tables, the columns that no setting and no term makes."""

_OTHERS = re.compile(r"relu([1-5])_([1-4])|block([1-5])_conv([1-4])")


def layer_name(name: object) -> str:
    """The paper's name of a layer: `relu4_2` and Keras's `block4_conv2` are `conv4_2` here.

    Layers count after their ReLU anyway. Any other name stays as it is.
    """
    found = _OTHERS.fullmatch(str(name))
    if found is None:
        return str(name)
    block, number = filter(None, found.groups())
    return f"conv{block}_{number}"


def column_name(term: str, part: str, settings: Collection[str]) -> str:
    """A part of a term, mostly a layer, as the tables of a study call it.

    Args:
        term: The term's name.
        part: The part's; `"all"` of a term that has but one.
        settings: The names of the lanes' settings, which have columns, too.
    """
    is_taken = term in settings or term in _COLUMNS
    return f"{term}_{part}" if is_taken or part != "all" else term
