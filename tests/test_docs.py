"""The documents say what the program has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import nst_jax as nst

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"


def test_the_reference_has_every_public_name_once():
    page = (REFERENCE / "api.md").read_text("utf-8")
    found = re.findall(r"^\.\. auto\w+:: (\w+)$", page, re.MULTILINE)
    assert sorted(found) == sorted(nst.__all__)


def test_the_reference_has_every_command():
    source = (ROOT / "nst_jax" / "cli" / "main.py").read_text("utf-8")
    source += (ROOT / "nst_jax" / "cli" / "weights.py").read_text("utf-8")
    commands = set(re.findall(r'subcommand\(\s*"(\w+)"', source))
    assert {"stylize", "study", "fetch"} <= commands
    page = (REFERENCE / "command_line.md").read_text("utf-8")
    said = set(re.findall(r"\{help\} (?:weights )?(\w+)", page))
    assert said == commands - {"list"}  # which has no options


def test_the_reference_has_every_environment_variable():
    page = (REFERENCE / "running.md").read_text("utf-8")
    for path in (ROOT / "nst_jax").rglob("*.py"):
        for name in re.findall(r"environ[^\n]*?\"(NST_JAX_\w+)\"", path.read_text("utf-8")):
            assert f"`{name}`" in page, (path, name)


def test_the_reference_has_every_event():
    page = (REFERENCE / "running.md").read_text("utf-8")
    sources = [path.read_text("utf-8") for path in (ROOT / "nst_jax" / "cli").glob("*.py")]
    events = set(re.findall(r"\bevent\(\s*\"(\w+)\"", "\n".join(sources)))
    assert {"start", "end", "lane"} <= events
    assert events <= set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", page, re.MULTILINE))


def test_the_version_is_that_of_the_package_and_of_its_citation():
    wanted = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert wanted and cited and wanted[1] == cited[1] == nst.__version__


def test_the_house_has_every_floor():
    house = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for folder in (ROOT / "nst_jax").iterdir():
        if (folder / "__init__.py").exists():
            assert f"{folder.name}/" in house, folder.name


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "docs", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for page in tmp_path.rglob("*.html"):  # they need nothing of another host, to be read offline
        text = page.read_text("utf-8")
        assert not re.findall(r"(?:src|rel=\"stylesheet\" href)=\"https?://[^\"]*", text), page
        assert 'rel="shortcut icon"' in text, page  # a browser that is told of none asks for one
