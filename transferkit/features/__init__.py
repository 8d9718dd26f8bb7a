"""Features of pictures: extraction, files of them, scikit-learn estimators, probes, neighbours."""
