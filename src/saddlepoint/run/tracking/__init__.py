"""Weights & Biases, TensorBoard and CSV beside the local record."""
