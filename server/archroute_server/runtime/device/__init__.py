"""Forward passes whose keys and values stay in the memory of a device."""
