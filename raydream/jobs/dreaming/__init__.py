"""The data set job."""
