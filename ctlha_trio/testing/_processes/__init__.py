"""Pairs of real processes, their networks, their arbiters and their clients."""
