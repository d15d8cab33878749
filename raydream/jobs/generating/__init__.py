"""Stages of the job that trains a GAN on dreams."""
