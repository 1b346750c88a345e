"""The coordinator: runs rounds over institutions that stay sovereign, and publishes what they made.

It never sees a record, a token, a single institution's loss or its number of examples, and it needs no
torch: adapters are named arrays here. Read `coordinator.py` first.
"""

import os

# Flower reads these when it is first imported: it must neither call home, nor look for updates, nor install.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
os.environ["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] = "1"
