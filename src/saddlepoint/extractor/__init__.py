"""What turns samples into features that metrics are of."""
