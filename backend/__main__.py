"""`python -m backend` is the command line."""

import sys

from backend.cli import main

sys.exit(main(called="python -m backend"))
