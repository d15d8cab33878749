"""Networks that raydream trains, made of Keras layers and `keras.ops` only."""
