import subprocess
import sys
from pathlib import Path

import pytest

CONCORDAT = Path(sys.executable).parent / "concordat"
GROUPS = ["demo", "server", "node", "simulate", "generate", "release", "privacy", "model", "bench"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CONCORDAT, *arguments], capture_output=True, text=True, check=False)


def test_help_lists_every_group_and_the_exit_codes() -> None:
    out = run("--help").stdout
    assert all(f"  {g} " in out for g in GROUPS)
    assert "130 interrupted" in out


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_each_group_shows_an_example(group: str) -> None:
    done = run(group, "--help")
    assert done.returncode == 0, done.stderr
    assert f"concordat {group}" in done.stdout.split("Example:", 1)[1]


def test_version_is_the_package_s() -> None:
    from importlib.metadata import version

    assert run("--version").stdout.strip() == f"concordat {version('concordat')}"


def test_a_directory_that_cannot_be_made_is_one_line_that_names_it() -> None:
    done = run("simulate", "simulations/scenarios/quickstart.toml", "--out", "/dev/null/x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: /dev/null/x")
    assert "check the path" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_command_and_option_are_one_line_and_exit_2() -> None:
    for arguments in (["nod"], ["--jso"]):
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""


def test_a_deliberate_error_is_one_line_on_standard_error_with_its_own_code(tmp_path: Path) -> None:
    done = run("release", "verify", str(tmp_path), "--key", str(tmp_path / "none.json"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip().startswith("error:")
    assert "Traceback" not in done.stderr
