"""The pictures of a job checked before training: what can be decoded, copies, and what would spoil its figures."""
