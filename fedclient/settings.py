"""A node's settings: `node.toml` and the files beside it, read once.

The TOML's tables become the types that the rooms use: **RecordSettings**, **LocalPolicy**, **BudgetLimit**.
Privacy settings have no defaults: a missing one is an error that names it. Speed settings live in [base]
and at the top, and never change what is promised.

>>> from pathlib import Path
>>> NodeFiles(Path("hospital-a")).ledger.name
'ledger.db'
"""

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from fedclient.consent import ApprovalRule, LocalPolicy
from fedclient.hours import Hours
from fedclient.ledger import BudgetLimit, Ledger
from fedclient.peers import Peer
from fedclient.records import Format, RecordSettings
from fedcore import config
from fedcore.errors import ConfigError, TrustError
from fedcore.identity import SigningIdentity
from fedcore.privacy.units import PrivacyUnit, Relation

__all__ = ["NAME", "BaseSettings", "NodeFiles", "NodeSettings"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What an institution may be called."""


@dataclass(frozen=True)
class NodeFiles:
    """Where the files of a node lie."""

    directory: Path

    @property
    def settings(self) -> Path:
        """What the operator edits."""
        return self.directory / "node.toml"

    @property
    def identity(self) -> Path:
        """Ed25519 private key: signs replies."""
        return self.directory / "identity.key"

    @property
    def flower_key(self) -> Path:
        """EC P-384 private key by which Flower authenticates the node."""
        return self.directory / "flower.key"

    @property
    def coordinator(self) -> Path:
        """The pinned card of the coordinator, once enrolled."""
        return self.directory / "coordinator.json"

    @property
    def enrolment(self) -> Path:
        """The request that goes to the coordinator's operator."""
        return self.directory / "enrolment.json"

    @property
    def ledger(self) -> Path:
        """The privacy budget."""
        return self.directory / "ledger.db"

    @property
    def receipts(self) -> Path:
        """What the coordinator countersigned of the ledger."""
        return self.directory / "receipts.jsonl"

    @property
    def pending(self) -> Path:
        """Plans that wait for a person."""
        return self.directory / "pending"

    @property
    def status(self) -> Path:
        """What the running node is doing."""
        return self.directory / "status.json"


@dataclass(frozen=True, kw_only=True)
class BaseSettings:
    """[base]: which base model, and how it is held in memory (speed, never privacy).

    `path` is the name of a prepared base, a directory (relative to the node's when it starts with "."), or
    a hub id.
    """

    path: str
    dtype: Literal["float32", "bfloat16"] = "float32"
    quantization: Literal["none", "4bit", "8bit"] = "none"
    device: str = ""
    micro_batch: int = 8
    gradients: Literal["fused", "hooks"] = "fused"
    """How a unit's gradient is formed: inside the LoRA layers' own backward, or by Opacus' hooks."""
    checkpointing: bool = False
    """Compute each block again on the way back: less memory for about a third more work."""
    processes: int = 1
    """So many share each batch, every one with the base on a GPU of its own, or all on the CPU."""


@dataclass(frozen=True, kw_only=True)
class _RecordsTable:
    """[records]: where the records are, and the name under which the ledger keeps their budget."""

    dataset: str
    path: Path
    unit: str = ""
    relation: Relation | None = None
    format: Format = "auto"
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _PolicyTable:
    """[policy]: see `fedclient.consent.LocalPolicy`. It cannot hold an escape hatch."""

    tasks: tuple[str, ...]
    bases: tuple[str, ...]
    coordinators: tuple[str, ...] | None = None
    least_noise_multiplier: float
    largest_clip_norm_l2: float
    largest_rank: int
    largest_delta: float
    samplers: tuple[str, ...] | None = None
    largest_honest_minimum: int | None = None
    """Left out, shared noise is refused: the strictest rule needs no words."""
    peers: tuple[str, ...] = ()
    hours: tuple[str, ...] | None = None
    timezone: str | None = None
    approval: ApprovalRule | None = None


@dataclass(frozen=True, kw_only=True)
class _BudgetTable:
    """[budget]: see `fedclient.ledger.BudgetLimit`."""

    epsilon: float
    epsilon_per_year: float | None = None
    delta: float


_TO_WRITE = (
    ("records", "relation", '"add_or_remove_one" (a unit\'s presence is hidden) or "replace_one" (what it holds is)'),
    ("policy", "coordinators", "[] for the pinned coordinator, or a list of fingerprints"),
    ("policy", "samplers", '["poisson"]'),
    ("policy", "hours", '[] for any time, or such as ["Mon-Fri 20:00-06:00"]'),
    ("policy", "timezone", '"" for the machine\'s own, or such as "Europe/Berlin"'),
    ("policy", "approval", '"none", "job" or "round"'),
    ("budget", "epsilon_per_year", "the most within 365 days, such as the value of epsilon"),
)
"""Keys that files of earlier versions lack, and what to write: none of them has a silent default."""


@dataclass(frozen=True, kw_only=True)
class _NodeTable:
    """The whole of node.toml."""

    name: str
    threads: int = 0
    base: BaseSettings
    records: _RecordsTable
    policy: _PolicyTable
    budget: _BudgetTable


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """What a node runs with."""

    files: NodeFiles
    name: str
    threads: int
    """CPU threads; 0 leaves it to torch."""
    base: BaseSettings
    records: RecordSettings
    dataset: str
    unit: PrivacyUnit
    policy: LocalPolicy
    limit: BudgetLimit

    @classmethod
    def load(cls, directory: Path) -> "NodeSettings":
        """Read `node.toml` in a node's directory; paths in it are relative to that directory.

        Raises:
            ConfigError: The file is missing, a key is unknown or missing, or a value is out of range.
            NoPrivacyUnit: [records] unit is empty.
        """
        files = NodeFiles(directory)
        table = config.load(_NodeTable, files.settings)
        where = str(files.settings)
        unit = PrivacyUnit(key=table.records.unit)
        _require_written(table, where)
        _check(table, where)
        policy, budget = table.policy, table.budget
        unit = replace(unit, relation=table.records.relation or unit.relation)
        return cls(
            files=files,
            name=table.name,
            threads=table.threads,
            base=replace(table.base, path=_base_path(table.base.path, directory)),
            records=RecordSettings(
                path=directory / table.records.path.expanduser(),
                unit=table.records.unit,
                format=table.records.format,
                fields=table.records.fields,
            ),
            dataset=table.records.dataset,
            unit=unit,
            policy=LocalPolicy(
                tasks=policy.tasks,
                bases=policy.bases,
                coordinators=policy.coordinators or (),
                unit=unit,
                least_noise_multiplier=policy.least_noise_multiplier,
                largest_clip_norm_l2=policy.largest_clip_norm_l2,
                largest_rank=policy.largest_rank,
                largest_delta=policy.largest_delta,
                samplers=policy.samplers or (),
                largest_honest_minimum=policy.largest_honest_minimum,
                peers=policy.peers,
                own=_own(table.name, files.identity),
                hours=Hours.parse(policy.hours or (), timezone=policy.timezone or ""),
                approval=policy.approval or "job",
            ),
            limit=BudgetLimit(epsilon=budget.epsilon, delta=budget.delta, epsilon_per_year=budget.epsilon_per_year),
        )

    def open_ledger(self) -> Ledger:
        """The ledger of this node's records.

        Raises:
            LedgerError: See `Ledger.open`.
        """
        return Ledger.open(self.files.ledger, dataset=self.dataset, unit=self.unit, limit=self.limit)


def _own(name: str, identity: Path) -> str:
    """How peers know this institution; empty without a readable key, and then shared noise is refused as unknown."""
    try:
        return str(Peer(name=name, fingerprint=SigningIdentity.load(identity).public.fingerprint))
    except TrustError:
        return ""


def _base_path(path: str, directory: Path) -> str:
    """A path that starts with "." is the node's, "~" the user's; a name or a hub id stays as written."""
    if path.startswith("~"):
        return str(Path(path).expanduser())
    return str(directory / path) if path.startswith(".") else path


def _require_written(table: _NodeTable, where: str) -> None:
    """Name every key that has no default and is not there, with what to write.

    Raises:
        ConfigError: One is missing.
    """
    missing = [
        f"[{name}] {key} = {words}" for name, key, words in _TO_WRITE if getattr(getattr(table, name), key) is None
    ]
    if missing:
        raise ConfigError(
            f"{where} lacks settings that have no default",
            do="decide and write: " + "; ".join(missing),
        )


def _check(table: _NodeTable, where: str) -> None:
    """What the types of the tables cannot say."""
    if not NAME.fullmatch(table.name):
        raise ConfigError(f"{where}: the name cannot be used", expected="1 to 64 letters, digits, '.', '_' or '-'")
    if not table.records.dataset.strip():
        raise ConfigError(f"{where}: records: dataset is empty", do="name the records whose budget this is")
    if not 0 <= table.threads <= 4096 or not 1 <= table.base.micro_batch <= 65536:
        raise ConfigError(f"{where}: threads or micro_batch is out of range", expected="threads >= 0, micro_batch >= 1")
    if not 1 <= table.base.processes <= 64:
        raise ConfigError(f"{where}: base: processes is out of range", expected="1 to 64: one for each GPU")
    for name in ("epsilon", "epsilon_per_year"):
        value = getattr(table.budget, name)
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{where}: budget: {name} is out of range", expected="a finite number above 0")
