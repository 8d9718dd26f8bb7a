"""What a network sees of a picture, and why it answers as it does."""
