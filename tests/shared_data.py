"""Where data lies that is not part of the repository; a test that needs it skips where it is absent."""

import os
from pathlib import Path

SHARED_DATA = Path(os.environ.get("DFER_SHARED_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
