"""Data sets: one LightningDataModule each."""
