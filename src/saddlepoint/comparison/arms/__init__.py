"""Run folders are read, grouped into arms, scored, and compared with a baseline."""
