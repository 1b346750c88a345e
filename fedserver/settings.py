"""A coordinator's directory and its `server.toml`.

server.toml  ca.crt  ca.key  server.crt  server.key  identity.key  coordinator.json  state.db  releases/
"""

from dataclasses import dataclass
from pathlib import Path

from fedcore import config
from fedcore.errors import ConfigError

__all__ = ["EvaluatorSettings", "Place", "ServerSettings"]

_TEMPLATE = """\
# A Concordat coordinator. Every key is explained here; an unknown key is an error.

# What nodes and releases call this coordinator.
name = "{name}"

# Where nodes connect to: host and port. The server's certificate is for this host; after a change of it,
# run 'concordat server renew' and hand out coordinator.json again.
address = "{address}"

# Where to listen, when that is not the address above, such as "0.0.0.0:9443" behind a firewall.
# listen = "0.0.0.0:9443"

# Loss on public held-out examples, for jobs that name some. Needs the [domains] extra on this machine and
# the job's base model. Without it, losses are not stated.
# [evaluator]
# name = "public"
# base = "bases/smollm2-135m"
"""


@dataclass(frozen=True, kw_only=True)
class EvaluatorSettings:
    """Who scores states on public examples."""

    name: str
    """The entry point in the group "concordat.evaluators"."""
    base: Path
    """A prepared base directory, relative to the coordinator's directory."""


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What `server.toml` holds."""

    name: str
    address: str
    listen: str = ""
    evaluator: EvaluatorSettings | None = None


@dataclass(frozen=True)
class Place:
    """The files of a coordinator's directory."""

    directory: Path

    @property
    def toml(self) -> Path:
        """Settings."""
        return self.directory / "server.toml"

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.directory / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """The authority's key."""
        return self.directory / "ca.key"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.directory / "server.crt"

    @property
    def key(self) -> Path:
        """The server certificate's key."""
        return self.directory / "server.key"

    @property
    def identity(self) -> Path:
        """The Ed25519 key that signs plans and releases."""
        return self.directory / "identity.key"

    @property
    def card(self) -> Path:
        """What institutions are given."""
        return self.directory / "coordinator.json"

    @property
    def store(self) -> Path:
        """Members, jobs, rounds, checkpoints."""
        return self.directory / "state.db"

    @property
    def releases(self) -> Path:
        """Published releases."""
        return self.directory / "releases"

    def settings(self) -> ServerSettings:
        """Read `server.toml`.

        Raises:
            ConfigError: The directory is not a coordinator's, or the file cannot be used.
        """
        if not self.toml.is_file():
            raise ConfigError(
                f"{self.directory} is not a coordinator's directory",
                expected="a server.toml in it",
                do="name it with --dir, or make one with 'concordat server init DIR'",
            )
        return config.load(ServerSettings, self.toml)

    def write_settings(self, *, name: str, address: str) -> None:
        """Write a `server.toml` with comments."""
        self.toml.write_text(_TEMPLATE.format(name=name, address=address), encoding="utf-8")
