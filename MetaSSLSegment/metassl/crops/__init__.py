"""From the cache to the batch that a training step sees."""
