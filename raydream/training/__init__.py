"""What training learns from, and how: losses and steps, without Ray."""
