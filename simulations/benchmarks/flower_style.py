"""The work as Flower's own examples do it, as a Flower app: the client loads the model for each message.

`flower-supernode` starts a new process for each message by default, so torch is imported, the base loaded
and the hooks built each time. This file is copied into a folder of its own and run with `flwr run`; it
writes one line a round to `timings.jsonl` beside the work's description. No evaluation is asked for.
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

__all__ = ["TIMINGS", "WORK", "client", "server"]

WORK, TIMINGS = "work.json", "timings.jsonl"

client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    """Load the base, train from the arrays that came, reply with the new ones and the seconds of training."""
    # Imported here, so that the server's process does not pay for torch.
    from domains.language import Base, set_threads
    from fedclient.model import Trainer
    from fedcore.adapter import AdapterState
    from fedcore.privacy.noise import SecureNoise
    from fedcore.privacy.sampling import SystemRandom
    from simulations.benchmarks.work import Work

    work = Work.from_json((Path(str(context.run_config["folder"])) / WORK).read_text())
    set_threads(1)
    base = Base.load(work.base)
    dataset = work.dataset(base, int(context.node_config["partition-id"]))
    state = AdapterState.initial(work.schema(base), 1)
    arrays = message.content["arrays"]
    if not isinstance(arrays, ArrayRecord):
        raise TypeError("no arrays came")
    names = [spec.name for spec in state.schema.part("lora_B")]
    if list(arrays) == names:  # Round 1 starts from the initial state: the server knows no shapes.
        state = state.replace({n: arrays[n].numpy().astype(np.float32) for n in names})
    started = time.perf_counter()
    update = Trainer(base).train(work.plan(state), state, dataset, source=SystemRandom(), noise=SecureNoise())
    training_s = time.perf_counter() - started
    new = ArrayRecord({n: Array(state.tensors[n] + update.tensors[n]) for n in names})
    metrics = MetricRecord({"num-examples": 1, "training-s": training_s})
    return Message(RecordDict({"arrays": new, "metrics": metrics}), reply_to=message)


class _Timed(FedAvg):
    """Flower's FedAvg, with a clock around each round."""

    def __init__(self, nodes: int, timings: Path) -> None:
        super().__init__(fraction_evaluate=0.0, min_train_nodes=nodes, min_evaluate_nodes=0, min_available_nodes=nodes)
        self._timings = timings
        self._started = 0.0

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Start the clock once the nodes are there."""
        asked = super().configure_train(server_round, arrays, config, grid)
        self._started = time.perf_counter()
        return asked

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Stop the clock once the round is averaged."""
        received = list(replies)
        out = super().aggregate_train(server_round, received)
        spent = [r.content["metrics"]["training-s"] for r in received if r.has_content()]
        line = {"round": server_round, "wall_s": time.perf_counter() - self._started, "training_s": spent}
        with self._timings.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return out


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run Flower's own round loop."""
    folder = Path(str(context.run_config["folder"]))
    work = json.loads((folder / WORK).read_text())
    strategy = _Timed(int(work["nodes"]), folder / TIMINGS)
    initial = ArrayRecord({"none": Array(np.zeros(1, dtype=np.float32))})
    strategy.start(grid, initial, num_rounds=int(work["rounds"]), timeout=600)
