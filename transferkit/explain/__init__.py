"""The geometry of networks: sizes, costs and receptive fields of their layers."""
