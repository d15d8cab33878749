"""What people read: cards and the gallery."""
