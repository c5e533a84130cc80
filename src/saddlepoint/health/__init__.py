"""Health of a run: readings taken while a game is trained, rules that raise alarms, and the post-mortem."""
