"""One institution: reads its own records, trains privately within its own budget, and signs what leaves.

No plaintext record, prompt or gradient leaves this package, and it runs no code that came from a server.
Read `session.py` first.
"""

import os

# Flower reads these when it is first imported: it must neither call home, nor look for updates, nor install.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
os.environ["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] = "1"
