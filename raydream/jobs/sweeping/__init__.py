"""The sweep job."""
