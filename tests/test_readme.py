"""The README's code is what a type checker accepts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_readmes_code_passes_pyright(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    code = tmp_path / "readme.py"
    code.write_text("\n".join(blocks), "utf-8")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(code)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
