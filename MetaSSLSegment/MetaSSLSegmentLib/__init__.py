"""The Slicer side of MetaSSL: speaks MRML and Qt, never torch. Nodes become files, the engine runs as a child process
on them, and its files become nodes.

Sections (what a person sees) use Scene and Engine; these two know neither the sections nor each other.
"""
