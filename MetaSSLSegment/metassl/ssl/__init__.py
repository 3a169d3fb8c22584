"""What is learnt from labels and from the agreement of two predictions: regions, losses, methods."""
