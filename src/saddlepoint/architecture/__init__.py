"""Networks: a file defines a generator and a discriminator, or an encoder."""
