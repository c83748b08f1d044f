"""The examples in the docstrings of public functions and methods do what they say."""

import contextlib
import doctest
import inspect
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax as nst

WITHOUT = {
    "static": "the fields of the library's own terms are its examples",
}
LONG = {
    "stylize": "paints photographs of 512 pixels; tests/test_readme.py checks its like for types",
    "texture": "paints 256 pixels in 300 steps; tests/descent/test_texture.py has small ones",
}
QUICK = {  # what compiles no network
    *("Loss", "Region", "content", "content_loss", "curvature_preconditioner", "default_loss"),
    *(
        "edges",
        "gram_matrix",
        "keep_programs",
        "load_params",
        "make_labelled_sheet",
        "make_optimizer",
    ),
    *("make_sheet", "read_image", "read_origin", "safeguarded_lbfgs", "style_loss", "term"),
    *("total_variation", "within_bounds", "write_image", "prepare_params"),
}


def examples():
    """Each public name, and method of a public class, with its examples."""
    found = {}
    for name in nst.__all__:
        item = getattr(nst, name)
        if not callable(item):
            continue
        methods = vars(item).items() if inspect.isclass(item) else ()
        own = {name: item} | {
            f"{name}.{method}": getattr(value, "__func__", value)
            for method, value in methods
            if callable(getattr(value, "__func__", value)) and not method.startswith("_")
        }
        for label, value in own.items():
            found[label] = doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")
    return found


ALL = examples()


def cases():
    for name, own in sorted(ALL.items()):
        if own and name not in LONG:
            yield pytest.param(own, id=name, marks=() if name in QUICK else pytest.mark.slow)


@pytest.fixture(scope="module")
def names():
    """What examples speak of."""
    rng = np.random.default_rng(1)
    content, style = rng.random((40, 32, 3), np.float32), rng.random((32, 36, 3), np.float32)
    params = nst.load_params("vgg16")
    layers = dict(content_layers=("conv1_2",), style_layers=("conv1_1", "conv2_1"))
    config = nst.TransferConfig(num_steps=2, optimizer="adam", **layers)
    result = nst.stylize(params, content, style, config)
    weights = nst.LossWeights(style=5.0)
    study = nst.run_study(params, content, style, {"style_weight": [5, 20]}, config)
    return vars(nst) | {
        "nst": nst,
        "np": np,
        "jax": jax,
        "jnp": jnp,
        "params": params,
        "config": config,
        "weights": weights,
        "content": content,
        "image": jnp.asarray(content),
        "photo": content,
        "style": style,
        "first": style,
        "second": style[::-1],
        "photograph": content,
        "painting": style,
        "photographs": [content, content],
        "targets": nst.make_targets(params, content, style, config),
        "result": result,
        "study": study,
    }


@pytest.fixture
def quick_names():
    """Those that take no time."""
    image = jnp.full((40, 32, 3), 0.5)
    config = nst.TransferConfig(num_steps=2)
    params = nst.load_params("vgg16")
    return vars(nst) | {
        "nst": nst,
        "np": np,
        "jax": jax,
        "jnp": jnp,
        "params": params,
        "config": config,
        "content": image,
        "image": image,
        "style": image,
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*below 50")
@pytest.mark.parametrize("own", list(cases()))
def test_an_example_does_what_it_says(own, request, photos, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    is_slow = request.node.get_closest_marker("slow")
    known = dict(request.getfixturevalue("names" if is_slow else "quick_names"))
    # `content` and `style` are images, and public functions, too: where one is called, the latter
    for name in ("content", "style"):
        if any(f"{name}(" in example.source for example in own):
            known[name] = getattr(nst, name)
    for example in own:
        with contextlib.redirect_stdout(io.StringIO()) as told:
            exec(compile(example.source, "<example>", "single"), known)
        if example.want:
            checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
            assert checker.check_output(example.want, told.getvalue(), flags), told.getvalue()


def test_every_public_function_has_an_example():
    functions = {name for name in ALL if callable(getattr(nst, name, None))}
    classes = {name for name in functions if inspect.isclass(getattr(nst, name))}
    aliases = {"Targets"}  # a type that is no class
    lacking = {name for name in functions - classes - aliases if not ALL[name]}
    assert lacking == set(WITHOUT)
    assert set(LONG) <= set(ALL) and all(ALL[name] for name in LONG)
