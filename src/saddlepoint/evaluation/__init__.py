"""Measuring samples: the evaluator, the contract of a score, anchors, uncertainty, memorisation."""
