"""From a folder of whatever layout to cases: one file per layout."""
