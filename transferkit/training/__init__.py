"""Fitting a network to pictures."""
