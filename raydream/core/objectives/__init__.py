"""What a dream maximises."""
