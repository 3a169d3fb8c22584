"""Images, labels and cases on disk: what they are, and the one rule of which of them can be used."""
