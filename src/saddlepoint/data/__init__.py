"""Data sets: a LightningDataModule each, and an endless stream of their rows."""
