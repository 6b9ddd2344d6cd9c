"""Pairs in one process for the tests of others: what the fixtures open, and the faults that they take."""
