"""`concordat generate` and `concordat release`, where the command line finds them.

>>> from domains.commands import generate, release
>>> generate.info.help, release.info.help
('Write a checked document from a release.', 'Verify and show signed releases, offline.')
"""

from domains.generate_commands import generate
from domains.release_commands import load_release, release
from fedcore.enrolment import pinned_key

__all__ = ["generate", "load_release", "pinned_key", "release"]
