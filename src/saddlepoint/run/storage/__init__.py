"""Crash-safe files: atomic writes, a cache, archives, checksums."""
