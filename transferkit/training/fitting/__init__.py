"""Training itself: phases, losses, optimizers, schedules, checkpoints, and what is averaged at the end."""
