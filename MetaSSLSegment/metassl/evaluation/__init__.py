"""Predictions measured against labels."""
