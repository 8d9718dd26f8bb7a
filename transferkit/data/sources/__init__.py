"""What `--data` may say: folders, CSV lists, packed shards, TensorFlow Datasets, arrays."""
