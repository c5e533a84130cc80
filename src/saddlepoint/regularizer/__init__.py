"""Terms that are added to a player's loss."""
