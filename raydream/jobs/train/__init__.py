"""What all training jobs share: the loop, its checkpoints and journal, streams of images, the workers.

Ray Train starts the workers, and TensorFlow's MultiWorkerMirroredStrategy sums their gradients. The loop is our own,
since `model.fit` fails under that strategy with Keras 3 (keras-team/keras#20585).

    OUT/_raydream/run/...          Ray Train's files: checkpoints
    OUT/_raydream/settings.json    the settings of the run
    OUT/metrics.jsonl              one line for each epoch
    OUT/grids/epoch-00012.png      pictures
    OUT/tensorboard/...            the metrics for TensorBoard
"""
