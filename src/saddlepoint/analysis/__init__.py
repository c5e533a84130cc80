"""Studies of trained generators: groups of the data, directions of the latent space, augmentation of small data."""
