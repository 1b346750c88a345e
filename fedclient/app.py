"""An institution as a Flower ClientApp: a thin shell over `session.py`.

A message holds a ConfigRecord "envelope" with kind, header and signature, and an ArrayRecord "body" with
one array of bytes; Flower carries them and knows nothing of them. The coordinator's side has a twin of
this packing in `fedserver.messages`; a test fixes the format. Nothing that goes wrong here leaves as text:
a message that is no envelope gets an empty answer, all else is a refusal with a code.
"""

from collections.abc import Callable
from typing import cast, get_args

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedclient.session import Institution, run_round
from fedcore.errors import TrustError
from fedcore.wire import HEADER_LIMIT_BYTES, Envelope, Kind

__all__ = ["make_client_app", "pack", "unpack"]

_STYPE = "concordat.bytes"


def make_client_app(institution: Callable[[Context], Institution]) -> ClientApp:
    """A ClientApp that answers a plan or a question of a masked sum, or takes a receipt, with `session.run_round`.

    Args:
        institution: Finds or builds the institution that a node stands for.
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        reply = run_round(unpack(message.content), institution(context))
        return Message(pack(reply), reply_to=message)

    return app


def pack(envelope: Envelope) -> RecordDict:
    """An envelope as Flower carries it."""
    record = ConfigRecord({"kind": envelope.kind, "header": envelope.header, "signature": envelope.signature})
    content = RecordDict({"envelope": record})
    if envelope.body:
        array = Array(dtype="uint8", shape=(len(envelope.body),), stype=_STYPE, data=envelope.body)
        content["body"] = ArrayRecord({"body": array})
    return content


def unpack(content: RecordDict) -> Envelope:
    """Read what the coordinator sent; its signature is checked by the session.

    Raises:
        TrustError: It is not an envelope.
    """
    record, body = content.get("envelope"), content.get("body")
    fields = dict(record) if isinstance(record, ConfigRecord) else {}
    kind, header, signature = fields.get("kind"), fields.get("header"), fields.get("signature")
    array = body.get("body") if isinstance(body, ArrayRecord) else None
    if (
        kind not in get_args(Kind)
        or not (isinstance(header, bytes) and len(header) <= HEADER_LIMIT_BYTES)
        or not isinstance(signature, bytes)
        or (body is not None and not (isinstance(array, Array) and array.stype == _STYPE))
    ):
        raise TrustError("a message from the coordinator is not an envelope", do="check both sides' versions")
    data = array.data if isinstance(array, Array) else b""
    return Envelope(kind=cast(Kind, kind), header=header, signature=signature, body=data)
