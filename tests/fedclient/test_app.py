"""The ClientApp is a thin shell, and its packing is the coordinator's own."""

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from fedclient.app import make_client_app, pack, unpack
from fedcore.errors import TrustError
from fedcore.wire import Envelope
from fedserver import messages

ENVELOPES = [
    Envelope(kind="reply", header=b'{"a":1}', signature=b"s" * 64, body=bytes(range(256)) * 40),
    Envelope(kind="refusal", header=b"{}", signature=b"s" * 64),
]


@pytest.mark.parametrize("envelope", ENVELOPES, ids=["body", "no body"])
def test_both_sides_pack_alike_and_read_each_other(envelope: Envelope) -> None:
    assert pack(envelope).object_id == messages.pack(envelope).object_id
    assert unpack(messages.pack(envelope)) == envelope
    assert messages.unpack("a", pack(envelope)) == envelope


def test_packed_form_stays_as_it_is() -> None:
    content = pack(ENVELOPES[0])
    assert content.object_id == "8a7df75f63955e7b04a87a7ebeaedce72497d78db86462c34b3ae1aae457a739"


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"envelope": ConfigRecord({"kind": "plan"})}),
        RecordDict({"envelope": ConfigRecord({"kind": "code", "header": b"", "signature": b""})}),
        RecordDict({"envelope": ArrayRecord()}),
        RecordDict(
            {
                "envelope": ConfigRecord({"kind": "plan", "header": b"", "signature": b""}),
                "body": ArrayRecord({"body": Array("uint8", (1,), "numpy.ndarray", b"x")}),
            }
        ),
    ],
)
def test_what_is_no_envelope_is_not_read(content: RecordDict) -> None:
    with pytest.raises(TrustError, match="not an envelope"):
        unpack(content)


def test_client_app_of_flower_is_made() -> None:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1

    def nobody(context: object) -> object:
        raise AssertionError("not asked in this test")

    app = make_client_app(nobody)  # type: ignore[arg-type]
    assert isinstance(app, ClientApp)
    with pytest.raises(TrustError):
        app(Message(RecordDict(), 1, "train"), None)  # type: ignore[arg-type]
