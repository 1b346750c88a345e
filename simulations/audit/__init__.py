"""Attacks on the private step, run for real: faults planted on purpose, and canaries in a fine-tune."""
