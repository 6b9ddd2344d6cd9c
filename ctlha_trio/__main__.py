"""``python -m ctlha_trio``: the command line, as the program ``ctlha`` runs it."""

import sys

from ctlha_trio._interrupt import end_guard
from ctlha_trio.cli import EXIT_INTERRUPTED, main

try:
    end_guard()
    main(prog_name="ctlha")
except KeyboardInterrupt:
    sys.exit(EXIT_INTERRUPTED)
