"""Nodes become files, and files nodes: cases, results and how they are shown, curves, settings."""
