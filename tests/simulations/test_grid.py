"""The in-memory Grid: one message at a time, in order, and no trouble is swallowed."""

import threading
import time

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedserver.link import assume_identity
from simulations.grid import MemoryGrid


def contexts(count: int) -> dict[int, Context]:
    return {n: Context(1, n, {"partition-id": n - 1}, RecordDict(), {}) for n in range(1, count + 1)}


def asks(grid: MemoryGrid, nodes: list[int]) -> list[Message]:
    return [grid.create_message(RecordDict({"q": ConfigRecord({"n": n})}), "train", n, "1") for n in nodes]


@pytest.fixture(autouse=True)
def identity() -> None:
    assume_identity(1)


def answering(seen: list[int], together: list[int]) -> ClientApp:
    app = ClientApp()
    busy = threading.Semaphore(1)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        together.append(int(busy.acquire(blocking=False)))
        time.sleep(0.005)
        seen.append(context.node_id)
        busy.release()
        return Message(message.content, reply_to=message)

    return app


def test_every_message_is_answered_in_order_and_one_at_a_time() -> None:
    seen: list[int] = []
    together: list[int] = []
    with MemoryGrid(answering(seen, together), contexts(3)) as grid:
        replies = list(grid.send_and_receive(asks(grid, [2, 3, 1, 2])))
    assert seen == [2, 3, 1, 2]
    assert together == [1, 1, 1, 1]
    assert sorted(r.metadata.src_node_id for r in replies) == [1, 2, 2, 3]
    assert all(r.content["q"] == ConfigRecord({"n": r.metadata.src_node_id}) for r in replies)


def test_replies_come_once() -> None:
    with MemoryGrid(answering([], []), contexts(1)) as grid:
        ids = list(grid.push_messages(asks(grid, [1])))
        found: list[Message] = []
        while not found:
            found += grid.pull_messages(ids)
        assert list(grid.pull_messages(ids)) == []
        assert list(grid.pull_messages(["no such message"])) == []


def test_closing_lets_the_message_in_work_end_and_drops_the_rest() -> None:
    seen: list[int] = []
    started, go = threading.Event(), threading.Event()
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        started.set()
        go.wait(5)
        seen.append(context.node_id)
        return Message(RecordDict(), reply_to=message)

    grid = MemoryGrid(app, contexts(2))
    grid.push_messages(asks(grid, [1, 2]))
    started.wait(5)
    closing = threading.Thread(target=grid.close)
    closing.start()
    assert grid._closing.wait(5)
    assert closing.is_alive(), "it waits for the message in work"
    go.set()
    closing.join(5)
    assert seen == [1]


def test_an_exception_in_a_node_is_raised_to_the_coordinator() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise RuntimeError("a mistake in a session")

    with MemoryGrid(app, contexts(1)) as grid, pytest.raises(RuntimeError, match="a mistake in a session"):
        grid.send_and_receive(asks(grid, [1]))


def test_waiting_ends_at_the_timeout() -> None:
    app, go = ClientApp(), threading.Event()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        go.wait(5)
        return Message(RecordDict(), reply_to=message)

    with MemoryGrid(app, contexts(1)) as grid:
        assert list(grid.send_and_receive(asks(grid, [1]), timeout=0.02)) == []
        go.set()
