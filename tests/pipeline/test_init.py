"""What `import pipeline` promises to code that is not ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a package of the user's that is called as one of ours is."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("MINE = True\n")
    return tmp_path


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("code", ["import pipeline", "import models; assert models.MINE; import pipeline"])
def test_a_package_of_the_users_that_hides_ours_is_named_with_the_remedy(project: Path, code: str) -> None:
    result = python(project, "-c", code)
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith("ImportError: `import models` finds ")
    assert str(project / "models") in message
    assert "python -P" in message and "path/to/file.py:callable" in message


def test_a_folder_without_code_hides_ours_as_well(tmp_path: Path) -> None:
    """Where the install is editable, that is; elsewhere ours is found."""
    (tmp_path / "models").mkdir()
    result = python(tmp_path, "-c", "import pipeline, models; models.names()")
    assert result.returncode == 0 or f"`import models` finds {tmp_path / 'models'}" in result.stderr.splitlines()[-1]


def test_the_remedies_help(project: Path) -> None:
    assert python(project, "-P", "-c", "import pipeline, models; models.names()").returncode == 0
    command = [str(Path(sys.executable).with_name("pocketprune")), "list", "models"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert "mobilenet_v2" in result.stdout
