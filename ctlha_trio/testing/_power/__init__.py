"""A disk that loses and tears what was not flushed when its power is cut, and an arbiter on such a disk."""
