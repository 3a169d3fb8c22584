"""MetaSSL: semi-supervised segmentation of medical volumes that shows where its two predictions agree.

The engine speaks files and torch, never Slicer or Qt. Importing it costs nothing: torch is imported by the
functions that need it.
"""

__version__ = "0.1.0"
