"""From a folder of whatever layout to cases, each volume accounted for."""
