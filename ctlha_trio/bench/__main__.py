"""The serving process of a benchmark on one machine. Only ``ctlha bench`` starts it."""

import sys

from ctlha_trio.bench._processes import serve_in_this_process

if __name__ == "__main__":
    serve_in_this_process(sys.argv[1])
