"""What a network says of pictures, and how right it is."""
