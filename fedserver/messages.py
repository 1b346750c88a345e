"""Envelopes inside Flower's records, and out again: the coordinator's side.

A record dict holds a ConfigRecord "envelope" with kind, header and signature, and an ArrayRecord "body"
with one array of bytes. Whatever comes from a node is hostile until its signature holds, so unpacking
checks every type. The node's side has a twin of this in `fedclient.app`; the format is fixed by a test.
"""

from typing import cast, get_args

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedcore.errors import BadReply
from fedcore.wire import HEADER_LIMIT_BYTES, Envelope, Kind

__all__ = ["MESSAGE_TYPE", "pack", "unpack"]

MESSAGE_TYPE = "train"
_STYPE = "concordat.bytes"


def pack(envelope: Envelope) -> RecordDict:
    """An envelope as Flower carries it."""
    record = ConfigRecord({"kind": envelope.kind, "header": envelope.header, "signature": envelope.signature})
    content = RecordDict({"envelope": record})
    if envelope.body:
        array = Array(dtype="uint8", shape=(len(envelope.body),), stype=_STYPE, data=envelope.body)
        content["body"] = ArrayRecord({"body": array})
    return content


def unpack(institution: str, content: RecordDict) -> Envelope:
    """Read what a node sent.

    Raises:
        BadReply: It is not an envelope ("malformed").
    """
    record, body = content.get("envelope"), content.get("body")
    if not isinstance(record, ConfigRecord) or set(content) - {"envelope", "body"}:
        raise BadReply(f"{institution}: the reply is not an envelope", kind="malformed")
    kind, header, signature = record.get("kind"), record.get("header"), record.get("signature")
    if kind not in get_args(Kind) or not isinstance(header, bytes) or not isinstance(signature, bytes):
        raise BadReply(f"{institution}: the reply's envelope cannot be read", kind="malformed")
    if len(header) > HEADER_LIMIT_BYTES or len(signature) != 64:
        raise BadReply(f"{institution}: the reply's header or signature has the wrong size", kind="malformed")
    data = b""
    if body is not None:
        array = body.get("body") if isinstance(body, ArrayRecord) and len(body) == 1 else None
        if not isinstance(array, Array) or array.stype != _STYPE:
            raise BadReply(f"{institution}: the reply's body cannot be read", kind="malformed")
        data = array.data
    return Envelope(kind=cast(Kind, kind), header=header, signature=signature, body=data)
