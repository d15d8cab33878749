"""The networks that we train, as plain Keras layers."""
