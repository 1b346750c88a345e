"""The mark shows to who holds the key, to nobody else, and only where there was room for it."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from domains.language import Base, Writer, set_threads
from domains.watermark import Green, Key, Marked, detect, green, read_key, write_key
from fedcore.errors import ConfigError
from simulations.tiny import make_tiny_base

KEY, OTHER = Key(secret=b"k" * 32), Key(secret=b"o" * 32)
VOCABULARY = 384


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    set_threads(1)
    return Base.load(make_tiny_base(tmp_path_factory.mktemp("base") / "llama", "llama"))


def written(shape: Green | None, *, steps: int, sharp: float, seed: int) -> list[int]:
    """Tokens sampled from random logits: a language model's part, without the language."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.tensor([[3]])
    change = shape.begin(1, 1, steps) if shape else lambda _ids, scores: scores
    for _ in range(steps):
        scores = change(ids, torch.randn(1, VOCABULARY, generator=draw) * sharp)
        ids = torch.cat([ids, scores.softmax(-1).multinomial(1, generator=draw)], dim=1)
    return ids[0].tolist()


def test_a_marked_text_shows_under_its_key_alone() -> None:
    for seed in range(5):
        marked = written(Green(KEY), steps=120, sharp=1.0, seed=seed)
        assert detect([marked], KEY, VOCABULARY).marked
        assert not detect([marked], OTHER, VOCABULARY).marked


def test_unmarked_texts_score_as_chance_says() -> None:
    scores = [detect([written(None, steps=80, sharp=1.0, seed=s)], KEY, VOCABULARY).z for s in range(150)]
    assert abs(float(np.mean(scores))) < 0.3
    assert 0.8 < float(np.std(scores)) < 1.2
    assert max(scores) < 4


def test_where_the_model_has_no_choice_nothing_is_marked() -> None:
    scores = torch.full((1, VOCABULARY), -50.0)
    scores[0, 9] = 50.0
    change = Green(KEY).begin(1, 1, 5)
    assert torch.equal(change(torch.tensor([[3]]), scores), scores)
    flat = torch.zeros(2, VOCABULARY)
    flat[1] = scores[0]
    out = change(torch.tensor([[3], [3]]), flat)
    assert torch.equal(out[0] > 0, torch.from_numpy(green(KEY, 3, VOCABULARY)))
    assert torch.equal(out[1], flat[1])


def test_z_is_the_slow_twin_of_a_count() -> None:
    chooser = random.Random(5)  # noqa: S311
    tokens = [chooser.randrange(VOCABULARY) for _ in range(200)]
    pairs = {(tokens[i], tokens[i + 1]) for i in range(len(tokens) - 1)}
    count = sum(bool(green(KEY, a, VOCABULARY)[b]) for a, b in pairs)
    found = detect([tokens], KEY, VOCABULARY)
    assert (found.pairs, found.green) == (len(pairs), count)
    assert found.z == pytest.approx((count / len(pairs) - 0.25) / math.sqrt(0.25 * 0.75 / len(pairs)))


def test_repeating_a_text_proves_nothing_more() -> None:
    text = written(Green(KEY), steps=60, sharp=1.0, seed=1)
    assert detect([text] * 9, KEY, VOCABULARY) == detect([text], KEY, VOCABULARY)


def test_a_larger_vocabulary_begins_with_the_same_tokens() -> None:
    assert np.array_equal(green(KEY, 7, 500)[:VOCABULARY], green(KEY, 7, VOCABULARY))
    assert 0.2 < green(KEY, 7, 50_000).mean() < 0.3


def test_the_writer_marks_what_it_writes_and_says_how_well(base: Base) -> None:
    marked = Marked(base, None, KEY)
    ask = {"max_new_tokens": 150, "temperature": 1.0, "seed": 2}
    assert marked.write(["Note:"], **ask) == marked.write(["Note:"], **ask)  # type: ignore[arg-type]
    assert marked.write(["Note:"], **ask) != Writer(base).write(["Note:"], **ask)  # type: ignore[arg-type]
    assert "too few words" in marked.described(["Seen."])
    assert "too few words" in marked.described([])
    letters = [t for t in range(3, base.vocabulary) if base.tokenizer.decode([t]).strip().isalpha()]
    text, at = "", base.tokens("x")[-1]
    for _ in range(300):
        mask = green(KEY, at, base.vocabulary)
        text += base.tokenizer.decode([next(t for t in [*letters, 3] if mask[t])])
        at = base.tokens(text)[-1]
    assert marked.described([text, "a mare is metformin for note facts type"]).startswith(("green list", "not applied"))
    assert repr(marked) == "Marked"


def test_a_key_is_made_once_for_its_owner_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "mark.key"
    write_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    key = read_key(path)
    assert len(key.secret) == 32
    assert key.secret.hex() not in f"{key!r}{key.fingerprint}"
    assert key.fingerprint != KEY.fingerprint
    with pytest.raises(ConfigError, match="exists"):
        write_key(path)
    for content in ("", "abcd", "not hexadecimal at all", "ff" * 80):
        path.write_text(content)
        with pytest.raises(ConfigError) as raised:
            read_key(path)
        assert "not hexadecimal" not in str(raised.value)
    with pytest.raises(ConfigError):
        read_key(tmp_path / "none")
