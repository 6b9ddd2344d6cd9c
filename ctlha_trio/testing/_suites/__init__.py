"""Conformance suites, one for each interface that has several implementations."""
