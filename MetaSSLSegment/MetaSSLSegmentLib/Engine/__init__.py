"""The engine's process: its packages, its start and end, what it says, what it leaves in the runs folder."""
