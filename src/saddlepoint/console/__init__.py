"""Output of commands: results, messages, live tables, progress, and standard streams that may be closed."""
