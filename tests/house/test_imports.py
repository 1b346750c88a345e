"""Who may import whom, and that a coordinator needs no torch."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


BLOCK = """
import sys
class No:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, No())
"""
ALONE = """
import importlib, os, traceback
import cryptography.x509, numpy, rich.console, safetensors.numpy, scipy.special, typer
for module in {modules!r}:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(module)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f"{{module}} cannot be imported")
print("ok")
"""
"""Each module in a process of its own, which starts with what many of them need of others."""


def imports_without(module: str, blocked: set[str]) -> subprocess.CompletedProcess[str]:
    code = BLOCK.format(blocked=blocked) + f"import {module}\nprint('ok')\n"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_coordinator_imports_without_torch_or_domains() -> None:
    for module in ("fedserver.commands", "fedserver.coordinator", "fedserver.link"):
        done = imports_without(module, {"torch", "transformers", "peft", "opacus", "domains"})
        assert done.stdout == "ok\n", done.stderr


def test_fedcore_imports_without_torch_flower_and_the_rest() -> None:
    blocked = {"torch", "transformers", "peft", "opacus", "flwr", "domains", "fedclient", "fedserver", "simulations"}
    paths = sorted((ROOT / "fedcore").rglob("*.py"))
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in paths]
    code = BLOCK.format(blocked=blocked) + ALONE.format(modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "ok\n", done.stderr
    assert "fedcore.cli" in modules


def test_domains_import_without_flower_or_opacus() -> None:
    done = imports_without("domains.commands", {"flwr", "opacus", "fedclient", "fedserver"})
    assert done.stdout == "ok\n", done.stderr


def test_the_coordinator_s_extra_asks_for_no_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    assert not any(word in line for line in asked for word in ("torch", "peft", "transformers", "opacus"))


PUBLIC_FLOWER = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.simulation")
LINKS = {"fedserver/link.py", "fedclient/link.py"}
BESIDE = {"simulations/benchmarks/secagg.py"}
"""What measures Flower's own parts beside ours."""


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_flower_s_private_parts_are_touched_in_one_module_on_each_side() -> None:
    # import-linter cannot name a part of an installed package, so this contract stands here.
    for package in ("fedcore", "fedclient", "fedserver", "domains", "simulations"):
        for path in (ROOT / package).rglob("*.py"):
            private = {m for m in imported(path) if m.split(".")[0] == "flwr" and not m.startswith(PUBLIC_FLOWER)}
            assert not private or str(path.relative_to(ROOT)) in LINKS | BESIDE, (path, private)
