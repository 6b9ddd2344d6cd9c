"""``python -m ctlha_trio``: the command line."""

from ctlha_trio.cli import main

main(prog_name="ctlha")
