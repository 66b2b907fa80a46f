"""Faults on purpose: what happens to a run, one command each. docs/drills.md has them with what comes of them."""
