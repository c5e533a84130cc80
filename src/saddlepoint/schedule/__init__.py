"""Numbers as functions of the images shown."""
