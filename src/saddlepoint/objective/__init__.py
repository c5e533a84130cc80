"""The game's own losses: pure functions of logits."""
