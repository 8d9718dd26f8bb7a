"""Devices, replicas on several of them, and several machines."""
