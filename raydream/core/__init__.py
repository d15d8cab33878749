"""Arrays in, arrays out: the dream engine and the networks it uses. No Ray, no files, no URLs."""
