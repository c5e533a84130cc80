"""Files that survive a crash: the one atomic write, a cache, archives, checksums."""
