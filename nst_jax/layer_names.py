"""Names of layers: the paper's, and those that other programs have for them."""

import re

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
