"""Parts of the latent, by name."""
