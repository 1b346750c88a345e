"""Everything in the documentation that can run is run: each page's `bash` blocks, in order, in an empty directory."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedcore.cli import app
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "README.zh-CN.md"]
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(page: Path) -> str:
    text = "\n".join(BLOCK.findall(page.read_text(encoding="utf-8")))
    return text.replace("127.0.0.1:9443", f"127.0.0.1:{free_port()}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [p for p in PAGES if BLOCK.search(p.read_text(encoding="utf-8"))], ids=lambda p: p.stem
)
def test_commands_of_the_page_run(page: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "simulations" / "scenarios" / "quickstart.toml", tmp_path)
    (tmp_path / "page.sh").write_text("set -euo pipefail\n" + script(page))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "page.sh"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=900)
    finally:
        # What the page started in the background ends with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    assert process.returncode == 0, output[-3000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_link_and_named_file_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_command_shown_exists(page: Path) -> None:
    code = " ".join(re.findall(r"`{1,3}[^`]+`{1,3}", page.read_text()))
    shown = set(re.findall(r"concordat (\w+)(?: ([a-z]+(?:-[a-z]+)*)\b)?", code))
    groups = ("server", "node", "release", "model", "bench", "privacy", "domain", "knowledge")
    for group, command in sorted(shown):
        # Here and not in a process each: that the program starts is asked in `tests/fedcore/test_cli.py`.
        done = CliRunner().invoke(app, [group, *([command] if group in groups and command else []), "--help"])
        assert done.exit_code == 0, (group, command, done.output)


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_tree_names_what_is_there(readme: str) -> None:
    tree = (ROOT / readme).read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    folder = ROOT
    for line in tree.splitlines():
        names, top = line.split("  ")[0 if not line.startswith(" ") else 1].strip(), not line.startswith(" ")
        for name in (n.strip() for n in names.split(",")):
            if not name or "*" in name:
                continue
            if top:
                folder = ROOT / name
                assert folder.is_dir(), name
            else:
                assert (folder / name).exists(), f"{folder.name}/{name}"
