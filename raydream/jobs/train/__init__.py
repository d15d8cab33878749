"""What all training jobs share: settings, workers that train as one, checkpoints, and the journal of a run.

Ray Train starts the workers and TensorFlow's MultiWorkerMirroredStrategy adds up their gradients. Each job has a loop
of its own, since `model.fit` fails under that strategy with Keras 3 (keras-team/keras#20585).

    OUT/_raydream/run/...          Ray Train's files: checkpoints
    OUT/_raydream/settings.json    the settings of the run
    OUT/metrics.jsonl              a line for each epoch
    OUT/grids/epoch-00012.png      pictures
    OUT/tensorboard/...            the metrics for TensorBoard
"""
