"""Measuring samples: the evaluator, contracts of scores, anchors, standard errors, memorisation."""
