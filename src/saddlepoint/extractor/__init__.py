"""Networks that turn samples into the features and logits that metrics are computed from."""
