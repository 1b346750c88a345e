"""A sentence encoder gives unit vectors that do not depend on what is read beside them."""

from pathlib import Path

import numpy as np
import pytest

from domains.language import load_encoder
from fedcore.errors import ModelError
from simulations.tiny import make_tiny_base


def test_vectors_are_unit_and_the_same_in_any_company(tmp_path: Path) -> None:
    encoder = load_encoder(make_tiny_base(tmp_path / "base", "bert"))
    texts = ["Visit for cough.", "A much longer sentence about a visit for cough and fever.", ""]
    together = encoder.embed(texts[:2])
    assert together.shape == (2, encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(together[0], encoder.embed(texts[:1])[0], atol=1e-4)


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load_encoder(tmp_path)
