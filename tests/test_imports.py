import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "nst_jax"

BELOW = {"checks", "compiled", "config", "dtypes", "layer_names", "pixels", "pytrees", "host"}
# each may import those before it
MATHEMATICS = ("network", "objective", "optim", "descent", "study")
FILES = ("files", "weights", "report")  # likewise
ABOVE = ("jobs", "cli", "__main__", "__init__")  # likewise, and both wings


def allowed(floor):
    """What the modules of a floor may import, beside each other."""
    if floor in BELOW:
        return BELOW
    if floor in MATHEMATICS:
        return BELOW | set(MATHEMATICS[: MATHEMATICS.index(floor)])
    if floor in FILES:
        return BELOW | {"network"} | set(FILES[: FILES.index(floor)])
    return BELOW | {*MATHEMATICS, *FILES} | set(ABOVE[: ABOVE.index(floor)])


def imported(path):
    """The floors that a module imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = (
                [node.module]
                if node.module != "nst_jax"
                else [f"nst_jax.{alias.name}" for alias in node.names]
            )
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (
            name.split(".")[1] if "." in name else "__init__"
            for name in names
            if name.split(".")[0] == "nst_jax"
        )


def test_the_floors_import_downwards():
    for path in PACKAGE.rglob("*.py"):
        floor = path.relative_to(PACKAGE).with_suffix("").parts[0]
        assert set(imported(path)) <= allowed(floor) | {floor}, path


def test_no_module_is_too_long():
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path.name


def test_scripts_and_integrations_use_the_public_names_alone():
    root = PACKAGE.parent
    for path in (*root.glob("scripts/*.py"), *root.glob("integrations/*/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("nst_jax."), path.name


def test_every_public_name_is_there_and_documented():
    import nst_jax

    for name in nst_jax.__all__:
        item = getattr(nst_jax, name)
        assert item.__doc__ or name.isupper(), name
