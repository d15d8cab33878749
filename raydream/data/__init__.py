"""Bytes, files and URLs: image codec, storage, and the data set on disk."""
