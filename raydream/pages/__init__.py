"""Pages for people to read: cards and the gallery."""
