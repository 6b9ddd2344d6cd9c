"""Whole nodes with their Trio drivers under a virtual clock, from a seed."""
