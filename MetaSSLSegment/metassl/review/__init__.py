"""What the two predictions mean for a person: how good a result is, where to look, what to annotate next."""
