// The shared library has no code of its own: everything is in the rooms that it links.
