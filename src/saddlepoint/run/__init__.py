"""A run on disk: its folder, checkpoints, provenance and journal; storage and tracking."""
