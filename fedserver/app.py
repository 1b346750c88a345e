"""The coordinator as a Flower ServerApp: a thin shell over `coordinator.py`.

The live server and `flwr run` both start here; what happens is decided by the function handed in.
"""

from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

__all__ = ["make_server_app"]


def make_server_app(run: Callable[[Grid, Context], None]) -> ServerApp:
    """A ServerApp whose whole work is `run`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        run(grid, context)

    return app
