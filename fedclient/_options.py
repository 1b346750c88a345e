"""Options that several `concordat node` commands take."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Directory", "Json"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Directory = Annotated[Path, typer.Option("--dir", help="The node's directory.")]
