"""node.toml: what it becomes, and what is refused."""

import re
from pathlib import Path

import pytest

from fedclient.ledger import BudgetLimit
from fedclient.settings import NodeSettings
from fedcore.errors import ConcordatError, ConfigError, NoPrivacyUnit
from fedcore.privacy.units import PrivacyUnit

TOML = """
name = "hospital-a"

[base]
path = "smollm2-135m"

[records]
dataset = "admissions"
path = "notes.jsonl"
unit = "patient"

[records.fields]
note = "text"

[policy]
tasks = ["medicine.record"]
bases = []
least_noise_multiplier = 0.5
largest_clip_norm_l2 = 1
largest_rank = 8
largest_delta = 1e-5

[budget]
epsilon = 8
delta = 1e-5
"""


def load(directory: Path, toml: str = TOML) -> NodeSettings:
    (directory / "node.toml").write_text(toml)
    return NodeSettings.load(directory)


def test_the_file_becomes_the_types_that_the_rooms_use(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.name, settings.threads, settings.dataset) == ("hospital-a", 0, "admissions")
    assert settings.unit == settings.policy.unit == PrivacyUnit(key="patient")
    assert settings.limit == BudgetLimit(epsilon=8.0, delta=1e-5)
    assert (settings.records.unit, settings.records.fields) == ("patient", {"note": "text"})
    assert settings.policy.largest_clip_norm_l2 == 1.0
    assert settings.policy.unsafe_allow_no_noise is False


def test_paths_are_relative_to_the_nodes_directory(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.records.path == tmp_path / "notes.jsonl"
    assert settings.files.ledger == tmp_path / "ledger.db"
    assert settings.base.path == "smollm2-135m"
    assert load(tmp_path, TOML.replace('"smollm2-135m"', '"./base"')).base.path == str(tmp_path / "base")
    assert load(tmp_path, TOML.replace('"notes.jsonl"', '"/data/n.csv"')).records.path == Path("/data/n.csv")


def test_the_ledger_is_that_of_the_dataset(tmp_path: Path) -> None:
    ledger = load(tmp_path).open_ledger()
    assert (ledger.account().dataset, ledger.account().unit.key, ledger.account().limit) == ("admissions", "patient", 8)


@pytest.mark.parametrize(
    "key",
    [
        "name",
        "path",
        "dataset",
        "tasks",
        "bases",
        "least_noise_multiplier",
        "largest_clip_norm_l2",
        "largest_rank",
        "largest_delta",
        "epsilon",
        "delta",
    ],
)
def test_a_setting_without_default_must_be_there(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' is missing"):
        load(tmp_path, re.sub(rf"(?m)^{key} = .*\n", "", TOML))


@pytest.mark.parametrize("toml", [TOML.replace('unit = "patient"\n', ""), TOML.replace('"patient"', '" "')])
def test_no_unit_is_an_error_that_says_so(tmp_path: Path, toml: str) -> None:
    with pytest.raises(NoPrivacyUnit, match="no privacy unit is named"):
        load(tmp_path, toml)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "hospital-a"', 'name = "a b/c"'),
        ('dataset = "admissions"', 'dataset = " "'),
        ('path = "smollm2-135m"', 'path = "x"\nmicro_batch = 0'),
        ('path = "smollm2-135m"', 'path = "x"\ndtype = "float16"'),
        ('unit = "patient"', 'unit = "patient"\nformat = "xml"'),
        ("epsilon = 8", "epsilon = inf"),
        ("epsilon = 8", "epsilon = nan"),
        ("epsilon = 8", "epsilon = 0"),
        ("epsilon = 8", 'epsilon = "8"'),
        ("largest_delta = 1e-5", "largest_delta = 1.5"),
        ("largest_rank = 8", "largest_rank = 8.5"),
        ("epsilon = 8", "epsilom = 8"),
        ("largest_rank = 8", "largest_rank = 8\nunsafe_allow_no_noise = true"),
        ('name = "hospital-a"', 'name = "hospital-a'),
    ],
)
def test_what_cannot_hold_is_refused_with_one_line(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(ConcordatError) as refused:
        load(tmp_path, TOML.replace(old, new))
    assert "\n" not in str(refused.value)


def test_a_directory_that_is_no_node_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="init"):
        NodeSettings.load(tmp_path)
