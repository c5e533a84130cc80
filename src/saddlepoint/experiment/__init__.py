"""Everything that takes a checked config: build, restore, train, evaluate, sample, replay."""
