"""What the headers of each format promise, looked at before ITK sees them."""
