"""node.toml: what it becomes, and what is refused."""

import pickle
import re
from pathlib import Path

import pytest

from fedclient.hours import Hours
from fedclient.ledger import BudgetLimit
from fedclient.settings import NodeSettings
from fedcore.errors import ConcordatError, ConfigError, NoPrivacyUnit
from fedcore.privacy.units import PrivacyUnit
from tests.reference.shared_noise import IDENTITIES, peer

TOML = """
name = "hospital-a"

[base]
path = "smollm2-135m"

[records]
dataset = "admissions"
path = "notes.jsonl"
unit = "patient"
relation = "add_or_remove_one"

[records.fields]
note = "text"

[policy]
tasks = ["medicine.record"]
bases = []
coordinators = []
least_noise_multiplier = 0.5
largest_clip_norm_l2 = 1
largest_rank = 8
largest_delta = 1e-5
samplers = ["poisson"]
hours = ["Mon-Fri 20:00-06:00"]
timezone = "Europe/Berlin"
approval = "job"

[budget]
epsilon = 8
epsilon_per_year = 4
delta = 1e-5
"""

NEW_KEYS = (
    "[records] relation",
    "[policy] coordinators",
    "[policy] samplers",
    "[policy] hours",
    "[policy] timezone",
    "[policy] approval",
    "[budget] epsilon_per_year",
)


def load(directory: Path, toml: str = TOML) -> NodeSettings:
    (directory / "node.toml").write_text(toml)
    return NodeSettings.load(directory)


def test_the_file_becomes_the_types_that_the_rooms_use(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.name, settings.threads, settings.dataset) == ("hospital-a", 0, "admissions")
    assert settings.unit == settings.policy.unit == PrivacyUnit(key="patient")
    assert settings.limit == BudgetLimit(epsilon=8.0, epsilon_per_year=4.0, delta=1e-5)
    assert (settings.records.unit, settings.records.fields) == ("patient", {"note": "text"})
    assert settings.policy.largest_clip_norm_l2 == 1.0
    assert settings.policy.unsafe_allow_no_noise is False
    assert settings.policy.hours == Hours.parse(("Mon-Fri 20:00-06:00",), timezone="Europe/Berlin")
    assert (settings.policy.approval, settings.policy.samplers, settings.policy.coordinators) == (
        "job",
        ("poisson",),
        (),
    )
    assert settings.base.gradients == "fused"


def test_the_relation_is_that_of_the_unit(tmp_path: Path) -> None:
    settings = load(tmp_path, TOML.replace('"add_or_remove_one"', '"replace_one"'))
    assert settings.unit == settings.policy.unit == PrivacyUnit(key="patient", relation="replace_one")


def test_settings_travel_to_the_worker(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - as multiprocessing does.


def test_a_file_of_an_earlier_version_is_told_every_key_to_write(tmp_path: Path) -> None:
    """Privacy settings have no silent defaults: each missing one is named, with its table and what to write."""
    old = re.sub(r"(?m)^(relation|coordinators|samplers|hours|timezone|approval|epsilon_per_year) = .*\n", "", TOML)
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, old)
    for key in NEW_KEYS:
        assert key in str(refused.value)
    assert '"replace_one"' in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["relation", "coordinators", "samplers", "hours", "timezone", "approval"])
def test_each_new_setting_must_be_written(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"\] {key} = "):
        load(tmp_path, re.sub(rf"(?m)^{key} = .*\n", "", TOML))


def test_shared_noise_is_refused_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert (load(tmp_path).policy.largest_honest_minimum, load(tmp_path).policy.peers) == (None, ())
    more = f'approval = "job"\nlargest_honest_minimum = 3\npeers = ["{peer("b")}", "{peer("c")}"]'
    policy = load(tmp_path, TOML.replace('approval = "job"', more)).policy
    assert (policy.largest_honest_minimum, policy.peers) == (3, (peer("b"), peer("c")))


def test_the_policy_knows_its_own_institution_by_its_key(tmp_path: Path) -> None:
    assert load(tmp_path).policy.own == ""
    IDENTITIES["a"].save(tmp_path / "identity.key")
    assert load(tmp_path).policy.own == "hospital-a" + peer("a")[1:]
    (tmp_path / "identity.key").write_text("no key")
    assert load(tmp_path).policy.own == ""


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
        ('path = "smollm2-135m"', 'path = "x"\nprocesses = 0'),
        ('path = "smollm2-135m"', 'path = "x"\ndtype = "float16"'),
        ('unit = "patient"', 'unit = "patient"\nformat = "xml"'),
        ("epsilon = 8", "epsilon = inf"),
        ("epsilon = 8", "epsilon = nan"),
        ("epsilon = 8", "epsilon = 0"),
        ("epsilon = 8", 'epsilon = "8"'),
        ("largest_delta = 1e-5", "largest_delta = 1.5"),
        ("largest_rank = 8", "largest_rank = 8.5"),
        ("epsilon = 8", "epsilom = 8"),
        ("epsilon_per_year = 4", "epsilon_per_year = inf"),
        ("epsilon_per_year = 4", "epsilon_per_year = 0"),
        ("epsilon_per_year = 4", "epsilon_per_year = nan"),
        ('"add_or_remove_one"', '"replace_some"'),
        ('approval = "job"', 'approval = "always"'),
        ('approval = "job"', "approval = true"),
        ('"Europe/Berlin"', '"Mars/Olympus"'),
        ('"Mon-Fri 20:00-06:00"', '"20:00"'),
        ('"Mon-Fri 20:00-06:00"', "20"),
        ("coordinators = []", 'coordinators = ["1a2b"]'),
        ('["poisson"]', '["shuffled"]'),
        ('tasks = ["medicine.record"]', 'tasks = ["medicine.record@1"]'),
        ('path = "smollm2-135m"', 'path = "x"\ngradients = "fast"'),
        ("largest_rank = 8", "largest_rank = 8\nunsafe_allow_no_noise = true"),
        ("largest_rank = 8", "largest_rank = 8\nlargest_honest_minimum = 0"),
        ("largest_rank = 8", "largest_rank = 8\nlargest_honest_minimum = true"),
        ("largest_rank = 8", 'largest_rank = 8\nlargest_honest_minimum = "3"'),
        ("largest_rank = 8", 'largest_rank = 8\npeers = ["b"]'),
        ("largest_rank = 8", 'largest_rank = 8\npeers = "b"'),
        ("largest_rank = 8", f'largest_rank = 8\npeers = ["{peer("b")}", "{peer("b")}"]'),
        ("largest_rank = 8", f'largest_rank = 8\nown = "{peer("b")}"'),
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
