"""The network as planned."""
