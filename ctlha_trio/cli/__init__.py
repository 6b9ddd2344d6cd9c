"""The command line ``ctlha``: makes pairs, runs nodes, asks them, and shows on one machine that a pair survives."""

from ctlha_trio.cli._configured_node import open_configured_node as open_configured_node
from ctlha_trio.cli._main import main as main
