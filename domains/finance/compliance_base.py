"""The features base of `finance.compliance`: its feature words, and what we expect each to be worth.

>>> import tempfile
>>> from domains.features import is_features_base
>>> directory = Path(tempfile.mkdtemp()) / "base"
>>> make_base(directory)
>>> is_features_base(directory)
True
"""

from pathlib import Path

from domains.features import make_features_base
from domains.finance._pairs import KNOWN, LABELS, PRIOR

__all__ = ["make_base"]


def make_base(directory: Path, *, prior: bool = True) -> None:
    """Write the base into a new directory; the same digest on every machine.

    Args:
        directory: Made here.
        prior: Without it the base knows nothing before training, as a simulation may want.
    """
    make_features_base(directory, labels=LABELS, known=KNOWN, dimension=64, prior=PRIOR if prior else None)
