"""A typed Trio implementation of the high-availability interface of FreeBSD's CAM Target Layer."""
