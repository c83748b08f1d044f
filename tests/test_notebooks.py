"""The notebooks run from top to bottom, and show what they speak of."""

from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_pictures(path, tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="the extra test is not installed")
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:  # as many as show that it runs
        cell["source"] = cell["source"].replace("num_steps=30", "num_steps=4")
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=300, resources=where).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3  # a result, a study and its plot
    said = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert all("left]" in text or not text.strip() for text in said), said  # bars, no warnings
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    text = path.read_text("utf-8")
    assert '"outputs": []' in text and '"output_type"' not in text
    assert '"execution_count": null' in text
