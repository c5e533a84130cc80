"""Several runs with one command, each as a process of its own with a fixed config."""
