"""What is read off a game while it is played, rules over it, and the post-mortem."""
