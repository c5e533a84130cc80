"""A run on disk: its folder, checkpoints, snapshots, provenance and journal; storage and tracking."""
