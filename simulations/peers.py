"""Nodes on this machine told of each other, as operators would tell each other on the telephone.

With shared noise a node takes only those for honest whose fingerprint its operator compared with theirs. In
a benchmark or a demonstration all nodes are here, so their own words are taken, never the coordinator's.

>>> introduced('peers = ["a=1a2b"]\\n', ["b=3c4d"])
'peers = ["b=3c4d"]\\n'
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from fedcore.errors import ConfigError

__all__ = ["introduce", "introduced"]

_PEERS = re.compile(r"^(# )?peers = \[[^\]\n]*\]", re.MULTILINE)


def introduce(node: Path, peers: Sequence[str]) -> None:
    """Write the list of peers into a node's settings.

    Args:
        node: The node's directory, made by `concordat node init`.
        peers: "name=fingerprint" of each, as that command printed it; the node's own may be among them.
    Raises:
        ConfigError: The settings have no place for it.
    """
    path = node / "node.toml"
    path.write_text(introduced(path.read_text(encoding="utf-8"), peers), encoding="utf-8")


def introduced(settings: str, peers: Sequence[str]) -> str:
    """The text of a node's settings with this list of peers.

    Raises:
        ConfigError: It has no line for them.
    """
    listed = "peers = " + json.dumps(list(peers))
    text, count = _PEERS.subn(lambda _: listed, settings)
    if count != 1:
        raise ConfigError("a node's settings have no line for its peers", expected="one, commented out or not")
    return text
