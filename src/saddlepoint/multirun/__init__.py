"""Many runs of one command, each a process of its own from a frozen config."""
