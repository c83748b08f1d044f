"""The code of the README and of the library's page is what a type checker accepts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/library.md"])
def test_the_code_passes_pyright(page, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    code = tmp_path / "page.py"
    code.write_text("\n".join(blocks), "utf-8")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(code)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
