"""Names of layers, the paper's and other programs', and of the parts of terms in tables."""

import re
from collections.abc import Container

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


def column_name(term: str, part: str, taken: Container[str]) -> str:
    """A part of a term, mostly a layer, as the tables of a study call it.

    Args:
        term: The term's name.
        part: The part's; `"all"` of a term that has but one.
        taken: The names that other columns have.
    """
    return term if part == "all" and term not in taken else f"{term}_{part}"
