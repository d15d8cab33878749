"""The parts of the retraining job: its settings, the backbone, its features, the training, the results."""
