"""Augmentation: steps that crop, move, recolour and mix pictures, each a function of a subject and a seed."""
