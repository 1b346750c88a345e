"""A ledger file's accounts for whoever only reads it."""

from pathlib import Path

from fedclient._book import Account, Book
from fedclient._chain import Chain
from fedcore.errors import LedgerError

__all__ = ["read_accounts"]


def read_accounts(path: Path) -> tuple[Account, ...]:
    """What every dataset of a ledger file adds up to, from stored figures; reads only, checks the chain.

    Raises:
        LedgerError: The file is missing, not a ledger, or its chain is broken.
    """
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}", do="it is made when the node first runs")
    chain = Chain(path, empty=Book, read_only=True)
    try:
        with chain.transaction(write=False) as book:
            return tuple(page.snapshot() for page in book.pages.values())
    finally:
        chain.close()
