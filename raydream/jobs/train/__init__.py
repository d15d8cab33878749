"""What all training jobs share."""
