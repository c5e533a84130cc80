"""Run folders are loaded, grouped into arms, scored, and compared with a baseline."""
