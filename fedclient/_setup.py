"""A new node's files: two private keys and a commented `node.toml`.

Nothing that exists is ever overwritten: a lost identity means enrolling again, and a lost ledger means a
budget that nobody can trust.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fedclient.ledger import BudgetLimit
from fedclient.peers import parse_peers
from fedclient.records import Format
from fedclient.settings import NAME, NodeFiles, NodeSettings
from fedcore.enrolment import EnrolmentRequest
from fedcore.errors import ConfigError, TrustError
from fedcore.identity import SigningIdentity, write_private
from fedcore.privacy.units import PrivacyUnit, Relation

__all__ = ["NewNode", "enrolment_request", "make_node"]


@dataclass(frozen=True, kw_only=True)
class NewNode:
    """What an operator decides before a node exists."""

    name: str
    records: Path
    dataset: str
    unit: str
    format: Format
    fields: Mapping[str, str]
    base: str
    tasks: tuple[str, ...]
    epsilon: float
    delta: float
    epsilon_per_year: float | None = None
    """None writes the value of `epsilon`."""
    relation: Relation = "add_or_remove_one"
    threads: int = 0
    largest_honest_minimum: int | None = None
    """None writes a comment: shared noise is refused."""
    peers: tuple[str, ...] = ()


def make_node(directory: Path, new: NewNode) -> NodeSettings:
    """Make keys and settings in a directory; return the settings as a node will read them.

    Raises:
        ConfigError: A value is out of range, the records are not there, or one of the files exists.
        NoPrivacyUnit: The unit is empty.
    """
    files = NodeFiles(directory)
    for path in (files.settings, files.identity, files.flower_key, files.ledger, files.coordinator):
        if path.exists():
            raise ConfigError(f"{path} exists already", do="choose another directory; nothing is overwritten")
    if not NAME.fullmatch(new.name):
        raise ConfigError(
            f"the name {new.name!r} cannot be used",
            expected="1 to 64 letters, digits, '.', '_' or '-'",
            do="set --name",
        )
    if not new.records.exists():
        raise ConfigError(f"the records {new.records} do not exist", do="set --records to a file or directory")
    PrivacyUnit(key=new.unit, relation=new.relation)
    for epsilon in (new.epsilon, _per_year(new)):
        BudgetLimit(epsilon=epsilon, delta=new.delta)
        if not math.isfinite(epsilon):
            raise ConfigError("the budget's epsilon is out of range", expected="a finite number above 0")
    if new.name in {peer.name for peer in parse_peers(new.peers)}:
        raise ConfigError(
            f"a peer has this institution's own name, {new.name}", do="leave it out: a node knows itself by its key"
        )
    if new.largest_honest_minimum is not None and new.largest_honest_minimum < 1:
        raise ConfigError("the largest honest minimum is out of range", expected="a whole number from 1")
    directory.mkdir(parents=True, exist_ok=True)
    SigningIdentity.generate().save(files.identity)
    write_private(files.flower_key, _new_flower_key())
    with files.settings.open("x", encoding="utf-8") as file:
        file.write(_toml(new))
    return NodeSettings.load(directory)


def enrolment_request(settings: NodeSettings) -> EnrolmentRequest:
    """The node's public keys, signed by its identity.

    Raises:
        TrustError: A key file is missing or of the wrong type.
    """
    path = settings.files.flower_key
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise TrustError(f"the key {path} cannot be read", do="check the path and its permissions") from error
    if not (isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp384r1"):
        raise TrustError(f"the key {path} is of the wrong type", expected="EC P-384")
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return EnrolmentRequest.make(settings.name, SigningIdentity.load(settings.files.identity), pem.decode())


def _new_flower_key() -> bytes:
    """A new EC P-384 key in PEM."""
    return ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _per_year(new: NewNode) -> float:
    """The most within a year; without a limit of its own, that of all years."""
    return new.epsilon if new.epsilon_per_year is None else new.epsilon_per_year


def _shared_noise(new: NewNode, text: Callable[[str | list[str]], str]) -> list[tuple[str, str]]:
    """Whether others may carry a part of the noise, and who they are; comments where nothing was decided."""
    most, peers = new.largest_honest_minimum, list(new.peers)
    return [
        (
            "# largest_honest_minimum = 3" if most is None else f"largest_honest_minimum = {most}",
            "left out: shared noise is refused; n: a job may assume that up to n",
        ),
        ("", "institutions in a masked sum are honest, and each adds 1/sqrt(n) of the noise"),
        (
            f"peers = {text(peers)}" if peers else '# peers = ["st-anne=1a2b-..."]',
            "institutions whose fingerprint you compared with their own operators;",
        ),
        ("", "in a job that shares noise all others count as colluding with the coordinator"),
    ]


def _toml(new: NewNode) -> str:
    """The settings file. JSON's strings and arrays of strings are TOML's too."""

    def text(value: str | list[str]) -> str:
        return json.dumps(value, ensure_ascii=False)

    lines: list[tuple[str, str]] = [
        (f"name = {text(new.name)}", ""),
        (f"threads = {new.threads}", "CPU threads; 0 leaves it to torch"),
        ("", ""),
        ("[base]", ""),
        (f"path = {text(new.base)}", "a prepared base ('concordat model list'), a directory or a hub id"),
        ('dtype = "float32"', 'or "bfloat16" on a GPU; speed, never privacy'),
        ('quantization = "none"', 'or "4bit", "8bit" on a GPU'),
        ('device = ""', '"" chooses: a GPU where there is one'),
        ("micro_batch = 8", "sequences held in memory at a time"),
        ('gradients = "fused"', 'or "hooks": Opacus\' own, slower; the same sums'),
        ("checkpointing = false", "true: less memory for about a third more work; the same sums"),
        ("processes = 1", "one for each GPU: they share every batch; the same sums"),
        ("", ""),
        ("[records]", ""),
        (f"dataset = {text(new.dataset)}", "the ledger keeps one budget for this name, over all jobs, for ever"),
        (f"path = {text(str(new.records.resolve()))}", ""),
        (f"format = {text(new.format)}", "auto, jsonl, csv, parquet or fhir"),
        (f"unit = {text(new.unit)}", 'whom privacy protects: a column or path, or "record" for each record alone'),
        (f"relation = {text(new.relation)}", "what epsilon hides: whether a unit is in the records at all;"),
        ("", 'or "replace_one": what a unit in them holds. It stays as it is once the ledger exists'),
        ("", ""),
        ("[records.fields]", "field of the task = column or path in the records, where they differ"),
        *((f"{text(task)} = {text(column)}", "") for task, column in sorted(new.fields.items())),
        ("", ""),
        ("[policy]", "what every plan of the coordinator must keep; others are refused"),
        (f"tasks = {text(list(new.tasks))}", "or \"name@digest\", as 'concordat node policy show' prints them"),
        ("bases = []", "digests of allowed bases; empty: only the one loaded here"),
        ("coordinators = []", "fingerprints; empty: the one that was pinned by 'node enrol'"),
        ("least_noise_multiplier = 0.3", "of everything that one step releases"),
        ("largest_clip_norm_l2 = 10.0", ""),
        ("largest_rank = 64", ""),
        (f"largest_delta = {new.delta!r}", ""),
        ('samplers = ["poisson"]', '"truncated_poisson" too: it needs a public bound on the number of units'),
        *_shared_noise(new, text),
        ("hours = []", 'when rounds may start, such as ["Mon-Fri 20:00-06:00"]; empty: at any time'),
        ('timezone = ""', 'of these hours, such as "Europe/Berlin"; empty: the machine\'s own'),
        ('approval = "none"', '"job" or "round": a person must approve with \'concordat node approve\''),
        ("", ""),
        ("[budget]", "the most that all jobs together may spend on this dataset"),
        (f"epsilon = {new.epsilon!r}", "may be raised or lowered; each change is noted in the ledger"),
        (f"epsilon_per_year = {_per_year(new)!r}", "the most within any 365 days"),
        (f"delta = {new.delta!r}", "fixed once the ledger exists; below 1 / number of units"),
    ]
    head = "# A Concordat node. Unknown keys are errors. Relative paths start at this file's directory.\n\n"
    return head + "".join(f"{setting:<31} # {why}\n" if why else f"{setting}\n" for setting, why in lines)
