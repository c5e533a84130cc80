"""The losses of the game: pure functions of logits."""
