"""From a trained model and a volume to labels, regions and confidence."""
