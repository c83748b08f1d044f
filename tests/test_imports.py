import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "nst_jax"

ALLOWED = {
    "config": set(),
    "winograd": set(),
    "convolution": {"config", "winograd"},
    "losses": {"config", "dtypes", "pixels"},
    "dtypes": set(),
    "bounds": {"dtypes"},
    "lbfgs": {"dtypes"},
    "files": set(),
    "pixels": {"config"},
    "decoding": set(),
    "lock": {"config"},
    "devices": set(),
    "images": {"config", "decoding", "files", "pixels"},
    "vgg": {"config", "convolution", "dtypes", "pixels"},
    "normalisation": {"config", "pixels", "vgg"},
    "objective": {"config", "dtypes", "losses", "pixels", "tiles", "vgg"},
    "tiles": {"config", "dtypes", "losses", "vgg"},
    "tiling": {"config", "losses", "objective", "tiles", "vgg"},
    "preconditioner": {"lbfgs"},
    "descent": {"bounds", "config", "dtypes", "lbfgs", "pixels", "preconditioner"},
    "history": {"descent", "objective"},
    "gradient": {"config", "objective", "pixels", "tiles", "tiling", "vgg"},
    "placement": set(),
    "lanes": {"config", "descent", "gradient", "history", "objective", "pixels", "placement", "vgg"},
    "snapshot": {"config", "descent", "history", "objective"},
    "pyramid": {"config", "descent", "history", "lanes", "objective", "pixels", "placement", "schedule", "snapshot", "vgg"},
    "schedule": {"config"},
    "transfer": {"config", "history", "lanes", "objective", "pixels", "placement", "pyramid", "snapshot", "vgg"},
    "grid": {"config", "objective"},
    "memory": set(),
    "study_result": {"grid", "history", "objective"},
    "study": {
        "config",
        "fit",
        "grid",
        "history",
        "lanes",
        "memory",
        "objective",
        "placement",
        "pyramid",
        "snapshot",
        "study_result",
        "transfer",
        "vgg",
    },
    "grid_file": {"config", "grid"},
    "fit": {"config", "lanes", "memory", "objective", "placement", "vgg"},
    "compilation_cache": set(),
    "processes": {"config"},
    "perceptual": {"config", "pixels", "weights"},
    "plots": {"images", "pixels"},
    "page": {"images"},
    "report": {"files", "images", "page", "plots"},
    "study_folder": {"config", "grid", "images", "record", "study"},
    "study_job": {
        *("config", "grid", "images", "lanes", "lock", "objective", "perceptual"),
        *("checkpoint", "processes", "record", "report", "snapshot", "stopping", "study", "study_folder", "study_result", "weights"),
    },
    "study_commands": {"compilation_cache", "config", "grid_file", "images", "processes", "progress", "study_job"},
    "weights.contents": set(),
    "weights.pickles": {"weights.contents"},
    "weights.torch_files": {"weights.contents", "weights.pickles"},
    "weights.readers": {"weights.contents", "weights.pickles", "weights.torch_files"},
    "weights.reader_process": set(),
    "weights.registry": set(),
    "weights.conversion": {"vgg", "weights.contents"},
    "weights.store": {"files", "weights.contents", "weights.conversion", "weights.readers"},
    "weights.download": {"weights.contents", "weights.registry"},
    "weights.index": {"files", "weights.contents", "weights.download", "weights.registry"},
    "weights.fetching": {
        *("weights", "weights.contents", "weights.download", "weights.index"),
        *("weights.registry", "weights.store"),
    },
    "weights.choice": {
        *("files", "weights", "weights.contents", "weights.download", "weights.fetching"),
        *("weights.index", "weights.store"),
    },
    "weights.loading": {
        *("files", "vgg", "weights", "weights.choice", "weights.contents", "weights.conversion"),
        *("weights.fetching", "weights.readers", "weights.store"),
    },
    "weights.__init__": {
        *("weights.contents", "weights.fetching", "weights.loading", "weights.readers"),
        *("weights.registry", "weights.store"),
    },
    "demo": {"images"},
    "progress": {"history", "study_result"},
    "record": {"config", "files", "history", "images", "weights"},
    "checkpoint": {"config", "files", "snapshot"},
    "stopping": set(),
    "job": {
        *("checkpoint", "config", "files", "fit", "grid", "history", "images", "lanes", "lock"),
        *("objective", "record", "stopping", "transfer", "weights"),
    },
    "rerun": {"config", "files", "job", "study_job"},
    "weights_commands": {"config", "images", "normalisation", "progress", "weights"},
    "cli": {
        "compilation_cache",
        "demo",
        "config",
        "devices",
        "images",
        "job",
        "processes",
        "progress",
        "rerun",
        "stopping",
        "study_commands",
        "weights",
        "weights_commands",
    },
    "__main__": {"cli"},
}
"""What each module may import of its siblings; the arrows point one way."""


def imported(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nst_jax"):
            module = node.module.removeprefix("nst_jax").removeprefix(".")
            found |= {module} if module else {alias.name for alias in node.names}
    return found


def test_imports_point_one_way():
    modules = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    assert set(modules) == set(ALLOWED) | {"__init__"}
    for name, allowed in ALLOWED.items():
        assert imported(modules[name]) <= allowed, name


def test_no_module_is_too_long():
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path.name


def test_scripts_use_the_public_names_alone():
    scripts = Path(__file__).parents[1] / "scripts"
    for path in scripts.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("nst_jax."), path.name


def test_every_public_name_is_there_and_documented():
    import nst_jax

    for name in nst_jax.__all__:
        item = getattr(nst_jax, name)
        assert item.__doc__ or name.isupper(), name
