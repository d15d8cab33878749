"""Backbones: loading, folding, geometry, compression."""
