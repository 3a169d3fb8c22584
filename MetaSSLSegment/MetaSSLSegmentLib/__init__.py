"""The Slicer side of MetaSSL: speaks MRML and Qt, never torch. Nodes become files, the engine runs as a child process
on them, and its files become nodes."""
