"""Receipts at an institution: what the coordinator signed of this ledger, and what the ledger lacks.

The coordinator signs the hash of each ledger entry that paid for a reply. The node keeps these receipts in a
file of their own, and checks before each round that its ledger holds the entry of every one of them, also of
the newest that came with the plan. A ledger file, or a whole directory, that was put back from an older copy
is found in this way; nothing is spent until the newer ledger is back or `resolve` has entered again what
the receipts show. This module never knows a record or an update.

    receipts = Receipts(path, institution="hospital-a", coordinator=pinned)
    receipts.keep(sealed)              # TrustError unless the pinned coordinator signed it for this institution
    receipts.check(ledger)             # LedgerBehind when an entry is missing

A receipt's number is for people. A coordinator that was itself put back from a backup gives a number twice;
both receipts count, since each names an entry that was there. A reservation whose reply never left shows in
no receipt, and losing it costs nobody anything. A reply that came too late to be counted is part of the
next receipt of its job; without a next one, no receipt shows it.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from fedclient.ledger import Ledger, Lost
from fedcore.errors import LedgerBehind, LedgerError, TrustError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.receipt import Receipt, read_line, read_lines, read_receipt, write_line
from fedcore.wire import Envelope

__all__ = ["Receipts", "Resolution", "Verification", "beside", "dataset_tag", "resolve", "verify"]

_TAG = b"concordat/1/dataset\0"
_RESOLVE = "put the newest ledger.db back, or run 'concordat node ledger resolve'"


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A receipt whose signature holds, as it was sealed, and who signed it."""

    signer: PublicIdentity
    sealed: Envelope
    receipt: Receipt

    @property
    def key(self) -> tuple[str, str]:
        """What makes it one receipt and not two."""
        return self.signer.key_hex, self.receipt.head


@final
class Receipts:
    """The receipts of one institution, one line each, flushed to the disk.

    A line that a power cut left unfinished at the end of the file is not counted: it was never relied on,
    and the coordinator sends its newest receipt again.

    Args:
        path: The file, made when the first receipt is kept.
        institution: Whose receipts these are.
        coordinator: The pinned key. A new receipt must be signed with it; those kept before another one was
            pinned are checked with the key that they name.
    """

    def __init__(self, path: Path, *, institution: str, coordinator: PublicIdentity) -> None:
        self.path = path
        self.institution = institution
        self.coordinator = coordinator
        self._read_at: tuple[int, int, int] | None = None
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._lines: dict[str, _Kept] = {}

    def keep(self, sealed: Envelope) -> Receipt:
        """Keep a receipt, unless it is kept already. When this returns, it is on the disk.

        Raises:
            TrustError: The pinned coordinator did not sign it for this institution.
            LedgerError: The file is damaged or cannot be written.
        """
        new = self._believe(sealed, self.coordinator)
        if new.key not in self._all():
            self._append([new])
        return new.receipt

    def all(self) -> tuple[Receipt, ...]:
        """Every receipt that is kept, in the order in which they came.

        Raises:
            LedgerError: The file is damaged.
        """
        return tuple(kept.receipt for kept in self._all().values())

    def check(self, ledger: Ledger) -> None:
        """Return when the ledger holds the entry of every receipt.

        Raises:
            LedgerBehind: It lacks one.
            LedgerError: The receipts or the ledger are damaged.
        """
        receipts = self.all()
        held = ledger.held(r.head for r in receipts)
        missing = [r for r in receipts if r.head not in held]
        if missing:
            first, last = missing[0], missing[-1]
            raise LedgerBehind(
                f"the ledger {ledger.path} is older than its receipts: it was put back from an older copy",
                expected=f"the entry of receipt {first.number}, round {first.round} of {first.job}"
                + (f", and of {len(missing) - 1} more up to receipt {last.number}" if len(missing) > 1 else ""),
                do=_RESOLVE,
            )

    def _believe(self, sealed: Envelope, signer: PublicIdentity) -> _Kept:
        receipt = read_receipt(sealed, signer, institution=self.institution)
        return _Kept(signer=signer, sealed=sealed, receipt=receipt)

    def _all(self) -> Mapping[tuple[str, str], _Kept]:
        """The file's receipts, read again only when it changed."""
        try:
            now = _stamp(self.path)
            if now != self._read_at:
                # A line that was believed before is not checked again.
                self._lines = {t: self._lines.get(t) or self._line(t) for t in (_lines(self.path) if now else ())}
                self._kept = {kept.key: kept for kept in self._lines.values()}
                self._read_at = now
        except (OSError, TrustError) as error:
            raise LedgerError(
                f"the receipts in {self.path} are damaged or were changed by another hand ({error})",
                do="put the newest copy of this file back, or run 'concordat node ledger resolve' with the "
                "coordinator's receipts",
            ) from error
        return self._kept

    def _line(self, line: str) -> _Kept:
        return self._believe(*read_line(line))

    def _salvage(self) -> Iterator[_Kept]:
        """Every receipt that can still be read and believed."""
        for line in _lines(self.path) if self.path.exists() else ():
            try:
                yield self._line(line)
            except TrustError:
                continue

    def _append(self, new: Sequence[_Kept]) -> None:
        """Write lines after the last whole one."""
        if not new:
            return
        data = "".join(write_line(kept.sealed, kept.signer) for kept in new).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(handle, "r+b") as file:
                whole = file.read().rfind(b"\n") + 1
                file.seek(whole)
                file.truncate()
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _flush_directory(self.path.parent)
        except OSError as error:
            raise LedgerError(f"a receipt cannot be kept in {self.path} ({error})", do="check its disk") from error

    def _rewrite(self, kept: Sequence[_Kept]) -> None:
        """Put a clean file in the place of a damaged one, which stays beside it."""
        try:
            self.path.rename(self.path.with_name(f"{self.path.name}.damaged"))
        except OSError as error:
            raise LedgerError(f"{self.path} cannot be set aside ({error})", do="check its directory") from error
        self._append(kept)


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What came of `resolve`."""

    entered: int
    """Receipts whose cost was entered again; 0 when the ledger lacked none."""
    kept: int
    """Receipts that were new here."""
    newest: int
    """Number of the newest receipt of the pinned coordinator; 0 without any."""
    epsilon_before: float
    epsilon: float
    """Of the node's own dataset, before and now."""


def resolve(ledger: Ledger, receipts: Receipts, identity: SigningIdentity, *, file: Path | None = None) -> Resolution:
    """Enter again into a ledger what the receipts show and it lacks, each receipt by its event.

    What is entered counts as spent now, so a yearly limit counts it for a year from today. It is never less
    than what was lost: rounds that were reserved and never answered are part of the next receipt's event.

    Args:
        ledger: The node's.
        receipts: Likewise. A damaged file is set aside, and what can be read of it is kept.
        identity: The institution's, which knows its data sets by their tags.
        file: Further receipts, as the coordinator's operator gets with 'concordat server receipts'.
    Raises:
        TrustError: A receipt in the file is not by the pinned coordinator for this institution.
        ConfigError: The file cannot be read.
        LedgerError: A receipt between those that are known is missing, or one is of a data set that has no
            page in the ledger. Nothing was entered.
    """
    local = {kept.key: kept for kept in receipts._salvage()}
    given = {kept.key: kept for kept in _given(receipts, file)} if file is not None else {}
    known = {**local, **given}
    held = ledger.held({h for kept in known.values() for h in (kept.receipt.head, kept.receipt.previous)})
    lost = sorted((k for k in known.values() if k.receipt.head not in held), key=lambda k: k.receipt.at)
    for kept in lost:
        before = kept.receipt.previous
        if before and before not in held and (kept.signer.key_hex, before) not in known:
            raise LedgerError(
                f"the receipt before number {kept.receipt.number} (round {kept.receipt.round} of {kept.receipt.job}) "
                "is not here, so what it cost is not known",
                do=f"ask the coordinator's operator to run 'concordat server receipts {receipts.institution} --out "
                "receipts.jsonl', and run this again with --receipts receipts.jsonl",
            )
    found = _placed(lost, ledger, identity)
    new = [kept for key, kept in given.items() if key not in local]
    try:
        receipts.all()
        receipts._append(new)
    except LedgerError:
        receipts._rewrite(list(known.values()))
    before_epsilon = ledger.epsilon()
    ledger.recover(found)
    return Resolution(
        entered=len(found),
        kept=len(new),
        newest=max((k.receipt.number for k in known.values() if k.signer == receipts.coordinator), default=0),
        epsilon_before=before_epsilon,
        epsilon=ledger.epsilon(),
    )


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of `verify`."""

    entries: int
    """Of the whole file."""
    receipts: int
    newest: int
    """Number of the newest receipt of the pinned coordinator; 0 without any."""
    countersigned: int
    """The newest entry for which a receipt vouches, and with it all before; 0 without any."""


def verify(ledger: Ledger, receipts: Receipts) -> Verification:
    """Check the whole chain, and that it holds the entry of every receipt.

    Raises:
        LedgerBehind: It lacks one.
        LedgerError: The ledger or the receipts are damaged.
    """
    entries = ledger.verify()
    receipts.check(ledger)
    kept = receipts._all().values()
    return Verification(
        entries=entries,
        receipts=len(kept),
        newest=max((k.receipt.number for k in kept if k.signer == receipts.coordinator), default=0),
        countersigned=max(ledger.held(k.receipt.head for k in kept).values(), default=0),
    )


def beside(ledger: Path) -> Path:
    """Where receipts lie when nothing else is said: one file for each ledger."""
    return ledger.with_suffix(".receipts.jsonl")


def dataset_tag(identity: SigningIdentity, dataset: str) -> str:
    """A data set's name in replies and receipts: always the same, and a riddle to all but the key's holder.

    An Ed25519 signature (RFC 8032) is a function of key and message alone, and only the key's holder can
    compute it; it is never sent itself.
    """
    return hashlib.sha256(identity.sign(_TAG + dataset.encode())).hexdigest()


def _given(receipts: Receipts, file: Path) -> Iterator[_Kept]:
    """The receipts of a coordinator's file; the pinned key is believed, whatever key a line names."""
    for sealed, _ in read_lines(file):
        yield receipts._believe(sealed, receipts.coordinator)


def _placed(lost: Iterable[_Kept], ledger: Ledger, identity: SigningIdentity) -> list[Lost]:
    """Lost receipts, each with the data set whose budget paid."""
    names = {dataset_tag(identity, name): name for name in ledger.datasets()}
    for kept in lost:
        if kept.receipt.dataset not in names:
            raise LedgerError(
                f"receipt {kept.receipt.number} (round {kept.receipt.round} of {kept.receipt.job}) is of a data set "
                f"that has no page in {ledger.path}",
                expected=f"one of {', '.join(sorted(names.values()))}",
                do="set [records] dataset in node.toml to the name that the records had then, run this again, and set "
                "it back",
            )
    return [Lost(dataset=names[k.receipt.dataset], coordinator=k.signer.key_hex, receipt=k.receipt) for k in lost]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file changes; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _lines(path: Path) -> list[str]:
    """The whole lines of a file."""
    return [line.decode(errors="replace") for line in path.read_bytes().split(b"\n")[:-1]]


def _flush_directory(path: Path) -> None:
    """Make a new file's name durable too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
