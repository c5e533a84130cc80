"""The game: players, sides and rounds, and what samples are drawn from."""
