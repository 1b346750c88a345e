"""`concordat`: one command whose groups are mounted from entry points.

It imports no package of Concordat by itself: each package names its commands in the entry-point group
"concordat.commands", and a group whose extra is not installed says which extra it needs. A group may mount
further ones in the same way: `concordat privacy` does, from "concordat.privacy_commands".

Exit codes are those of `fedcore.errors`: 0 done, 2 settings, 3 records, 4 privacy, 5 refused by policy,
6 model, 7 trust, 8 round, 9 network, 10 storage, 130 interrupted, 1 anything else.
"""

import json
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import click
import typer
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from fedcore import __version__
from fedcore.errors import ConcordatError, ConfigError, Interrupted

__all__ = ["MountedGroup", "console", "example", "main", "report"]

console = Console(stderr=True)
"""Everything for people goes to standard error, so that --json owns standard output."""

_EXTRAS = {"fedserver": "server", "fedclient": "client", "domains": "domains", "simulations": "simulation"}
_SUMMARIES = {
    "demo": "Run the main job here: a coordinator and three hospitals, from nothing to a document.",
    "server": "Coordinate: enrol institutions, run jobs, publish signed releases.",
    "node": "Take part as an institution: keys, records, budget, training.",
    "simulate": "Run a federation in one process from a scenario file.",
    "generate": "Write a checked document from a release.",
    "domain": "Show the tasks of the domain packs, and measure them.",
    "knowledge": "Hold clauses and terms that documents are checked against.",
    "release": "Verify and show signed releases, offline.",
    "privacy": "Plan, explain, certify and audit what is promised about each unit.",
    "model": "Show and prepare base models.",
    "bench": "Measure Concordat beside its peers.",
}

_HELP = """Institutions fine-tune one language model together; no record leaves its institution.

Exit codes: 0 done, 2 settings, 3 records, 4 privacy, 5 refused by policy, 6 model, 7 trust, 8 round,
9 network, 10 storage, 130 interrupted, 1 anything else."""


def example(*lines: str) -> str:
    """An epilog that shows commands that work, for `--help`."""
    return "Example:\n\n" + "\n\n".join(lines)


def report(value: Mapping[str, Any], *, as_json: bool, human: Callable[[], None]) -> None:
    """Print one JSON object on standard output, or else whatever `human` prints."""
    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str))
    else:
        human()


class MountedGroup(TyperGroup):
    """A group that also mounts what an entry-point group names, loaded when it is called.

    Help and completion stay fast: they show `summaries` and import nothing.
    """

    mounts: ClassVar[str] = "concordat.commands"
    """The entry-point group."""
    path: ClassVar[str] = "concordat"
    """What a user types before the mounted name."""
    summaries: ClassVar[Mapping[str, str]] = _SUMMARIES
    """Mounted name -> one line, in the order shown; others follow by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        known = {e.name for e in self._entries()}
        mounted = [n for n in self.summaries if n in known] + sorted(known - self.summaries.keys())
        return [*super().list_commands(ctx), *mounted]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (own := super().get_command(ctx, cmd_name)) is not None:
            return own
        entry = next((e for e in self._entries() if e.name == cmd_name), None)
        return None if entry is None else _load(entry, f"{self.path} {cmd_name}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from their summaries, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name, importing none; options complete as usual."""
        names = [n for n in self.list_commands(ctx) if n.startswith(incomplete)]
        items = [CompletionItem(n, help=self._summary(ctx, n)) for n in names]
        return items if not incomplete.startswith("-") else super().shell_complete(ctx, incomplete)

    def _summary(self, ctx: click.Context, name: str) -> str:
        own = super().get_command(ctx, name)
        return self.summaries.get(name, "") if own is None else own.get_short_help_str(limit=100)

    def _entries(self) -> list[EntryPoint]:
        return sorted(entry_points(group=self.mounts), key=lambda e: e.name)


def _load(entry: EntryPoint, path: str) -> click.Command:
    """Import one group.

    Raises:
        ConcordatError: Its extra is not installed.
    """
    try:
        loaded = entry.load()
    except ModuleNotFoundError as error:
        package = entry.module.split(".", 1)[0]
        extra = _EXTRAS.get(package, package)
        raise ConcordatError(
            f"'{path}' needs the Python package {error.name!r}, which is not installed",
            do=f"pip install 'concordat[{extra}]'",
        ) from error
    command = typer.main.get_command(loaded) if isinstance(loaded, typer.Typer) else loaded
    if not isinstance(command, click.Command):
        raise TypeError(f"the entry point {entry.name} is not a command")
    command.name = entry.name
    return command


app = typer.Typer(
    cls=MountedGroup,
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("concordat demo", "concordat node budget --help"),
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"concordat {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; every deliberate error is one line and an exit code of its own."""
    try:
        code = typer.main.get_command(app).main(standalone_mode=False)
    except ConcordatError as error:
        mark = "stopped:" if isinstance(error, Interrupted) else "[bold red]error:[/]"
        console.print(f"{mark} {escape(str(error))}", highlight=False, soft_wrap=True)
        code = error.exit_code
    except click.exceptions.Abort:
        console.print("interrupted: state is kept; run the same command again to go on")
        code = Interrupted.exit_code
    except KeyboardInterrupt:
        console.print("interrupted: state is kept; run the same command again to go on")
        code = Interrupted.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except OSError as error:
        if error.filename is None:
            raise
        what = f"{error.filename}: {error.strerror}; check the path, its permissions and the space on the disk"
        console.print(f"[bold red]error:[/] {escape(what)}", highlight=False, soft_wrap=True)
        code = ConfigError.exit_code
    raise SystemExit(code if isinstance(code, int) else 0)
