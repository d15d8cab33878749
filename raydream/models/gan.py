"""Generative adversarial networks: generators that make images from noise, and the critics that train them.

    generator = fastgan(128)                              # [latents, noise] -> images in [-1, 1]
    critic = projected_critic(shapes)                     # feature maps of a trained network -> logits
    generator, critic = dcgan(64), dcgan_critic(64)       # the seed project's pair; this critic takes images

The first input of a generator is a batch of latents (n, length). `fastgan` has a second one, a batch of noise maps
(n, size, size, 1). Both are standard normal. All layers and operations are Keras' own, so the `.keras` file of a
network loads without raydream.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

from raydream.types import KerasModel, Tensor

SIZES = (32, 64, 128, 256, 512)  # sides of the images in pixels
_SMALLEST = 4  # side of the first feature map
_SLOPE = 0.2  # of LeakyReLU, for negative values

# ---- FastGAN

# Side of a feature map -> its channels.
_CHANNELS = {4: 128, 8: 128, 16: 96, 32: 64, 64: 40, 128: 24, 256: 16, 512: 8}
_GATED = 16  # a feature map gates the one whose side is 16 times as long


def fastgan(size: int, latent: int = 128) -> KerasModel:
    """A generator after FastGAN (Liu et al., "Towards Faster and Stabilized GAN Training", 2021), but narrower.

    Each level doubles the size: nearest-neighbour upsampling, 3x3 convolution, noise, batch norm, gated linear unit;
    the levels 8, 32 and 128 have two convolutions, unless they are the last. A small feature map gates the channels of
    a large one (skip-layer excitation). There are no transposed convolutions, which leave a checkerboard (Odena et al.,
    2016).

    Args:
        size: side of the images, one of `SIZES`.
        latent: length of a latent.

    Returns:
        A model of [latents (n, latent), noise (n, size, size, 1)] that returns images (n, size, size, 3) in [-1, 1].
    """
    import keras
    from keras import layers

    latents = keras.Input((latent,), name="latents")
    noise = keras.Input((size, size, 1), name="noise")
    x = layers.Dense(2 * _CHANNELS[_SMALLEST] * _SMALLEST**2, use_bias=False, name="start")(latents)
    x = _gated(layers.Reshape((_SMALLEST, _SMALLEST, -1))(x), "start")
    maps = {_SMALLEST: x}
    side = _SMALLEST
    while side < size:
        side *= 2
        x = layers.UpSampling2D(name=f"up_{side}")(x)
        double = side < size and side in (8, 32, 128)
        for number in range(1 + double):
            x = _convolved(x, noise, f"conv_{side}_{number}")
        if side // _GATED in maps:
            x = layers.Multiply(name=f"excited_{side}")([x, _excitation(maps[side // _GATED], side)])
        maps[side] = x
    images = layers.Conv2D(3, 3, padding="same", activation="tanh", name="images")(x)
    model: KerasModel = keras.Model([latents, noise], images, name="fastgan")
    return model


def _convolved(x: Tensor, noise: Tensor, name: str) -> Tensor:
    from keras import layers

    channels, times = 2 * _CHANNELS[x.shape[1]], noise.shape[1] // x.shape[1]
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=name)(x)
    if times > 1:  # the mean of times² values varies only 1 / times as much
        noise = layers.Rescaling(times)(layers.AveragePooling2D(times)(noise))
    strength = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer="zeros", name=f"{name}_noise")
    return _gated(layers.Add()([x, strength(noise)]), name)


def _gated(x: Tensor, name: str) -> Tensor:
    """Batch norm, then a gated linear unit, which halves the channels. The statistics are those of all workers."""
    import keras

    x = keras.layers.BatchNormalization(momentum=0.9, synchronized=True, name=f"{name}_norm")(x)
    gated: Tensor = keras.ops.glu(x)
    return gated


def _excitation(x: Tensor, side: int) -> Tensor:
    """Factors in [0, 1] for the channels of the feature map of a side: (n, 1, 1, channels)."""
    from keras import layers

    if x.shape[1] > _SMALLEST:
        x = layers.AveragePooling2D(x.shape[1] // _SMALLEST)(x)
    x = layers.Conv2D(_CHANNELS[side], _SMALLEST, activation="silu", name=f"squeeze_{side}")(x)
    factors: Tensor = layers.Conv2D(_CHANNELS[side], 1, activation="sigmoid", name=f"factors_{side}")(x)
    return factors


# ---- the critic of FastGAN's images


def projected_critic(shapes: Sequence[Sequence[int]], width: int = 64, seed: int = 0) -> KerasModel:
    """A critic of the feature maps of a trained network (Sauer et al., "Projected GANs Converge Faster", 2021).

    Random convolutions, which stay fixed, mix the channels of each map, and add each map to the next larger one. Only
    a small head for each map learns; its weights are spectrally normalised. Unlike in the paper, the heads have no
    batch norm, so that the logits of an image do not depend on the rest of the batch.

    Args:
        shapes: (rows, columns, channels) of each map, the largest first.
        width: channels of the heads.
        seed: seed of the fixed convolutions.

    Returns:
        A model of a list of feature maps that returns a list of logits (n, rows, columns, 1), one for each map.
    """
    import keras

    maps = [keras.Input(tuple(shape), name=f"features_{number}") for number, shape in enumerate(shapes)]
    logits: list[Tensor] = []
    mixed: Tensor | None = None
    for number in reversed(range(len(maps))):
        coarser, mixed = mixed, _fixed(maps[number], width, 1, f"mixed_{number}", seed)
        if coarser is not None:
            upsampled = keras.layers.Resizing(*shapes[number][:2], name=f"upsampled_{number}")(coarser)
            mixed = keras.layers.Add()([mixed, _fixed(upsampled, width, 3, f"joined_{number}", seed)])
        logits.insert(0, _head(mixed, width, f"head_{number}"))
    model: KerasModel = keras.Model(maps, logits, name="projected_critic")
    return model


def _fixed(x: Tensor, width: int, side: int, name: str, seed: int) -> Tensor:
    """A random convolution that does not learn; its initial weights roughly preserve the variance."""
    import keras

    own_seed = zlib.crc32(f"{name} {seed}".encode())  # another one for each layer
    initializer = keras.initializers.VarianceScaling(1.0, "fan_in", seed=own_seed)
    layer = keras.layers.Conv2D(width, side, padding="same", use_bias=False, kernel_initializer=initializer, name=name)
    layer.trainable = False
    fixed: Tensor = layer(x)
    return fixed


def _head(x: Tensor, width: int, name: str) -> Tensor:
    """Logits of a feature map, for at most 8 x 8 positions: larger maps are halved until they fit."""
    from keras import layers

    number = 0
    while x.shape[1] > 8:
        x = layers.LeakyReLU(_SLOPE)(_normalised(x, width, 4, f"{name}_down_{number}", strides=2))
        number += 1
    x = layers.LeakyReLU(_SLOPE)(_normalised(x, width, 3, f"{name}_last"))
    return _normalised(x, 1, 1, f"{name}_logits")


def _normalised(x: Tensor, channels: int, side: int, name: str, strides: int = 1) -> Tensor:
    """A convolution with spectral normalisation (Miyato et al., 2018).

    Unlike in the paper, Keras divides the stored weights themselves, so the gradient does not pass through the norm.
    """
    from keras import layers

    convolution = layers.Conv2D(channels, side, strides, padding="same", name=f"{name}_kernel")
    normalised: Tensor = layers.SpectralNormalization(convolution, name=name)(x)
    return normalised


# ---- the seed project's networks


def dcgan(size: int = 256, latent: int = 256) -> KerasModel:
    """The generator of the seed project, after DCGAN (Radford et al., 2016).

    A dense layer, then transposed convolutions of 256, 128, 64, ... channels; smaller sizes have fewer of them. The
    standard deviation of the initial weights is 0.2, as there.

    Args:
        size: side of the images, one of `SIZES` up to 256. The seed project had 256 and 64.
        latent: length of a latent.

    Returns:
        A model of [latents (n, latent)] that returns images (n, size, size, 3) in [-1, 1].
    """
    import keras
    from keras import layers

    options: dict[str, Any] = {"use_bias": False, "kernel_initializer": keras.initializers.RandomNormal(stddev=0.2)}

    def activated(x: Tensor, name: str) -> Tensor:
        x = layers.BatchNormalization(synchronized=True, name=f"{name}_norm")(x)
        activations: Tensor = layers.LeakyReLU()(x)
        return activations

    latents = keras.Input((latent,), name="latents")
    x = activated(layers.Dense(_SMALLEST**2 * 512, name="start", **options)(latents), "start")
    x = layers.Reshape((_SMALLEST, _SMALLEST, 512))(x)
    for number in range(int(math.log2(size // _SMALLEST))):
        name, strides = f"conv_{number}", 2 if number else 1
        x = layers.Conv2DTranspose(256 >> number, 3, strides, padding="same", name=name, **options)(x)
        x = activated(x, name)
    images = layers.Conv2DTranspose(3, 3, 2, padding="same", activation="tanh", name="images", **options)(x)
    model: KerasModel = keras.Model([latents], images, name="dcgan")
    return model


def dcgan_critic(size: int = 256) -> KerasModel:
    """The critic of the seed project: five convolutions with stride 2 and dropout.

    Args:
        size: side of the images, as for `dcgan`.

    Returns:
        A model of images (n, size, size, 3) that returns logits (n, 1).
    """
    import keras
    from keras import layers

    image = keras.Input((size, size, 3), name="image")
    x = image
    for number, channels in enumerate((16, 32, 64, 128, 256)):
        x = layers.Conv2D(channels, 3, 2, padding="same", name=f"conv_{number}")(x)
        x = layers.Dropout(0.3, name=f"dropout_{number}")(layers.LeakyReLU()(x))
    logits = layers.Dense(1, name="logits")(layers.Flatten()(x))
    model: KerasModel = keras.Model(image, logits, name="dcgan_critic")
    return model
