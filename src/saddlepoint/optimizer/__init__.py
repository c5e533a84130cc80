"""Optimizers that torch.optim lacks."""
