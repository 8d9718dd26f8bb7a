"""The page and the model card of a run, made from its files, and the table of several runs."""
