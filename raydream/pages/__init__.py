"""Pages for people to read: cards, the gallery, the page of a sweep."""
