"""A Flower `Strategy` with a loop of its own, since Flower's always runs from round 1, waits without bound and
believes what it is told. Nothing of Flower's loop is used; its hooks do nothing.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result
from flwr.serverapp.strategy import Strategy as FlowerStrategy

from fedserver.progress import JobResult

__all__ = ["OwnLoop"]


class OwnLoop(FlowerStrategy):
    """See the module."""

    @abstractmethod
    def run(self, grid: Grid) -> JobResult:
        """Run a job over a Grid, from wherever it stands to its end."""

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int = 0,
        timeout: float = 0,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """`run` for those who hold a Flower Strategy: the job says everything, the arguments nothing.

        Raises:
            QuorumLost: The job failed.
        """
        job = self.run(grid)
        job.check()
        result = Result()
        result.arrays = ArrayRecord({name: Array(array) for name, array in job.state.tensors.items()})
        return result

    def summary(self) -> None:
        """Nothing to say: progress goes to `report`."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """No messages: Flower's own loop, which would call this, is not used."""
        return ()

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Nothing is folded outside `run`."""
        return None, None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nodes are never asked for a loss: it would leak."""
        return ()

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nodes are never asked for a loss: it would leak."""
        return None
