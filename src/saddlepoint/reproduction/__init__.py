"""Whether published figures are met: baselines, verdicts, certificates."""
