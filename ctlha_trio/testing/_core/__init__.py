"""The pair cores of two nodes and an arbiter in an event loop of their own, from a seed: no Trio."""
