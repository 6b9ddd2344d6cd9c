"""Nodes whose power is cut at each call of their disks, one after the other, and what must be there afterwards."""
