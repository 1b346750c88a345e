"""A server on another machine gets nothing in plain HTTP, and no error repeats what was sent."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from domains.base import load_task
from domains.filter import Filter, guarded
from domains.finance.synthetic import records
from domains.pipeline import Settings, generate
from domains.server_writer import ServerWriter
from fedcore.errors import ConfigError, LinkError, ModelError

SECRET = "Patient Zebedee Quux"
Answer = tuple[int, Any]


class Server:
    """A small real server; `answers` decides by path and body, and every request is kept."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.answers: Callable[[str, dict[str, Any]], Answer] = lambda _p, _b: (404, {})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, body, self.headers.get("Authorization", "")))
                status, value = outer.answers(self.path, body)
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, daemon=True)
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()


def ask(writer: ServerWriter, prompt: str = SECRET) -> list[str]:
    return writer.write([prompt], max_new_tokens=7, temperature=0.2, seed=3)


def test_completions_are_asked_for_first(server: Server, tmp_path: Path) -> None:
    server.answers = lambda _p, body: (200, {"choices": [{"text": " after " + body["prompt"]}]})
    (tmp_path / "key").write_text("abc-123\n")
    writer = ServerWriter(server.url, "big", key_file=tmp_path / "key")
    assert ask(writer) == [" after " + SECRET]
    path, body, authorization = server.asked[0]
    assert path == "/v1/completions"
    assert authorization == "Bearer abc-123"
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("big", 7, 0.2, 3)


def test_a_server_without_completions_is_asked_for_chat_from_then_on(server: Server) -> None:
    server.answers = lambda path, _b: (
        (200, {"choices": [{"message": {"content": "Yes."}}]}) if path.endswith("chat/completions") else (404, {})
    )
    writer = ServerWriter(server.url, "big")
    assert ask(writer) == [" Yes."]
    assert ask(writer) == [" Yes."]
    assert [p for p, _, _ in server.asked] == ["/v1/completions", "/v1/chat/completions", "/v1/chat/completions"]


def test_a_schema_is_handed_to_the_server(server: Server) -> None:
    server.answers = lambda _p, _b: (200, {"choices": [{"message": {"content": '{"a": 1}'}}]})
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert ask(ServerWriter(server.url, "big", schema=schema)) == ['{"a": 1}']
    assert server.asked[0][1]["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("status", "value"),
    [
        (500, {"error": SECRET}),
        (401, {"error": SECRET}),
        (307, {}),
        (200, SECRET.encode()),
        (200, {"choices": []}),
        (200, {"choices": [{"text": 5}]}),
        (200, [SECRET]),
    ],
)
def test_no_error_repeats_prompt_or_answer(server: Server, status: int, value: Any) -> None:
    server.answers = lambda _p, _b: (status, value)
    with pytest.raises(ModelError) as raised:
        ask(ServerWriter(server.url, "big"))
    shown = f"{raised.value}{raised.value.__cause__}{raised.value.__context__ if raised.value.__cause__ else ''}"
    assert "Zebedee" not in shown
    assert "\n" not in str(raised.value)
    assert len(server.asked) == 1  # A redirect is not followed.


def test_a_server_that_is_not_there_and_one_that_is_late_are_told_apart(server: Server) -> None:
    with pytest.raises(LinkError, match="cannot be reached"):
        ask(ServerWriter("http://127.0.0.1:1/v1", "big"))
    release = threading.Event()
    server.answers = lambda _p, _b: (200, {"late": release.wait(5)})
    with pytest.raises(LinkError, match="in time") as raised:
        ask(ServerWriter(server.url, "big", timeout_s=0.2))
    release.set()
    assert raised.value.__cause__ is None
    assert "Zebedee" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example.org/v1",
        "http://127.0.0.1.example.org/v1",
        "http://203.0.113.7/v1",
        "ftp://127.0.0.1/v1",
        "https://user:word@models.example.org/v1",
        "https:///v1",
        "models.example.org",
    ],
)
def test_inputs_do_not_leave_readable(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ServerWriter(url, "big")
    assert "word" not in str(raised.value)


def test_plain_http_elsewhere_only_when_told() -> None:
    assert repr(ServerWriter("http://203.0.113.7/v1", "big", allow_plain_http=True)) == "ServerWriter"


def test_a_key_file_without_a_key_is_refused_without_content(tmp_path: Path) -> None:
    for content in (b"", b"two words", b"\xff\xfe"):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(ConfigError) as raised:
            ServerWriter("https://models.example.org", "big", key_file=tmp_path / "key")
        assert "two words" not in str(raised.value)


def test_a_chat_that_repeats_its_instructions_gets_them_into_no_document(server: Server) -> None:
    def parrot(path: str, body: dict[str, Any]) -> Answer:
        if not path.endswith("chat/completions"):
            return 404, {}
        return 200, {"choices": [{"message": {"content": " ".join(m["content"] for m in body["messages"])}}]}

    server.answers = parrot
    task = load_task("finance.report")
    fields = next(records("harbour", 1, seed=4))
    source = task.read(fields)
    writer = ServerWriter(server.url, "big")
    document, _ = guarded(Filter(), {}, writer, lambda w: generate(task, source, w, Settings()))
    assert server.asked
    assert not Filter().leaks(document.text, writer.secrets)
