"""The pages of runs and evaluations, the model card of a run, and the table of several, made from their files."""
