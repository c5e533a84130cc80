"""From words to a config: composed, checked once, frozen, with its identity."""
