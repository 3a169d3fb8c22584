"""What a person sees: one class per section of the panel."""
