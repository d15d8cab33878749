"""Stages of the job that compresses a network."""
