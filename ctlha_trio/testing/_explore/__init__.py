"""Every interleaving of a bounded pair: both cores, arbiter, links and disks as one hashable state."""
