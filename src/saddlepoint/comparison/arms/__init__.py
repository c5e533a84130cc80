"""What is compared: runs read, grouped into arms, scored, held against a baseline."""
