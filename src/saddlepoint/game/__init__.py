"""The game: players, sides, rounds, and how samples are drawn."""
