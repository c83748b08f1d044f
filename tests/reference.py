"""The method written a second time, from the equations, in float64 NumPy: nothing here is shared
with the library."""

import numpy as np

POOLS_BEFORE = ("conv2_1", "conv3_1", "conv4_1", "conv5_1")
CHANNELS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}
LAYERS = {
    "vgg16": [
        f"conv{b}_{i}"
        for b, depth in zip("12345", (2, 2, 3, 3, 3), strict=True)
        for i in range(1, depth + 1)
    ],
    "vgg19": [
        f"conv{b}_{i}"
        for b, depth in zip("12345", (2, 2, 4, 4, 4), strict=True)
        for i in range(1, depth + 1)
    ],
}


def random_layers(network, seed=0, gain=1.0, narrow=1):
    """Kernels (3, 3, in, out) and biases with the variance that keeps activations alive, float32;
    so many times fewer channels than the network has, where `narrow` is not 1."""
    rng, layers, in_channels = np.random.default_rng(seed), {}, 3
    for name in LAYERS[network]:
        out_channels = CHANNELS[name[4]] // narrow
        kernel = (
            rng.normal(size=(3, 3, in_channels, out_channels))
            * gain
            * np.sqrt(2 / (9 * in_channels))
        )
        layers[name] = (
            kernel.astype(np.float32),
            rng.normal(size=out_channels).astype(np.float32) * np.float32(0.05),
        )
        in_channels = out_channels
    return layers


def torchvision_names(layers):
    """features.0.weight (out, in, 3, 3) …: convolutions and ReLUs count, and so do poolings."""
    named, index = {}, 0
    for layer, (kernel, bias) in layers.items():
        index += layer in POOLS_BEFORE
        named[f"features.{index}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        named[f"features.{index}.bias"] = bias
        index += 2
    return named


def random_params(network, seed=0, narrow=1):
    params = {
        name: {"kernel": kernel, "bias": bias}
        for name, (kernel, bias) in random_layers(network, seed, narrow=narrow).items()
    }
    return {"mean": np.array([0.48, 0.46, 0.41], np.float32), **params}


def convolve(image, kernel):
    """out[y, x, o] = Σ padded[y + i, x + j, c] · kernel[i, j, c, o], zeros around."""
    height, width, _ = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    return sum(
        padded[i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def pool(image, kind):
    height, width = image.shape[0] // 2, image.shape[1] // 2
    cells = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1)
    return cells.mean((1, 3)) if kind == "avg" else cells.max((1, 3))


def unpool(gradient, image, kind):
    """The derivative of `pool` applied to a gradient."""
    height, width, channels = gradient.shape
    cells = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, channels)
    if kind == "avg":
        share = np.full_like(cells, 0.25)
    else:
        share = (cells == cells.max((1, 3), keepdims=True)).astype(float)
        share /= share.sum((1, 3), keepdims=True)
    out = np.zeros_like(image)
    out[: 2 * height, : 2 * width] = (share * gradient[:, None, :, None]).reshape(
        2 * height, 2 * width, channels
    )
    return out


def forward(params, image, pooling):
    """Every layer's activations after ReLU, and the input of every convolution and pooling."""
    activations, found = np.asarray(image, float) - np.asarray(params["mean"], float), {}
    for name, param in params.items():
        if name == "mean":
            continue
        before = activations
        if name in POOLS_BEFORE:
            activations = pool(activations, pooling)
        kernel, bias = np.asarray(param["kernel"], float), np.asarray(param["bias"], float)
        activations = np.maximum(convolve(activations, kernel) + bias, 0)
        found[name] = (activations, before)
    return found


def features(params, image, pooling="avg"):
    return {name: activations for name, (activations, _) in forward(params, image, pooling).items()}


def gram(activations):
    positions = activations.reshape(-1, activations.shape[-1])
    return positions.T @ positions / len(positions)


def backward(params, found, cotangents, pooling):
    """Gradient in the image, of a loss whose derivatives in the activations are `cotangents`."""
    gradient = 0.0
    for name in reversed(list(found)):
        activations, before = found[name]
        gradient = (gradient + cotangents.get(name, 0.0)) * (activations > 0)
        kernel = np.asarray(params[name]["kernel"], float)
        if np.ndim(gradient):
            gradient = convolve(gradient, kernel[::-1, ::-1].swapaxes(2, 3))
            if name in POOLS_BEFORE:
                gradient = unpool(gradient, before, pooling)
    return gradient


def style_term(activations, target, coefficient):
    """s ‖G − A‖² and its derivative in the activations, G = FᵀF / M."""
    difference = gram(activations) - target
    count = activations.shape[0] * activations.shape[1]
    return coefficient * np.sum(difference**2), coefficient * 4 / count * (activations @ difference)


def content_term(activations, target, coefficient):
    difference = activations - target
    return coefficient * np.sum(difference**2), 2 * coefficient * difference


def total_variation(image):
    """Σ (Δ_rows² + Δ_columns²)^1.25 and its gradient."""
    rows, columns = image[1:, :-1] - image[:-1, :-1], image[:-1, 1:] - image[:-1, :-1]
    squares = rows**2 + columns**2
    slope = 2.5 * squares**0.25
    gradient = np.zeros_like(image)
    gradient[1:, :-1] += slope * rows
    gradient[:-1, 1:] += slope * columns
    gradient[:-1, :-1] -= slope * (rows + columns)
    return np.sum(squares**1.25), gradient


def coefficients(
    scaling, content_features, style_grams, generated, pixels, content_layers, style_layers
):
    """c_l, s_l (for Gram matrices that are means over M positions) and t."""
    content, style = {}, {}
    for layer in content_layers:
        size = content_features[layer].size
        norm = np.sum(content_features[layer] ** 2)
        content[layer] = {"relative": 1 / norm, "paper": 1 / 2, "mean": 1 / size, "notebook": 1.0}[
            scaling
        ]
    for layer in style_layers:
        height, width, channels = generated[layer].shape
        count, norm = height * width, np.sum(style_grams[layer] ** 2)
        style[layer] = {
            "relative": 1 / norm,
            # The published coefficients are for sums over positions; M² brings them to means.
            "paper": 1 / (4 * channels**2 * count**2) * count**2,
            "mean": 1 / channels**2,
            "notebook": 1 / (4 * 3**2 * pixels**2) * count**2,
        }[scaling]
    return content, style, 255**2.5 if scaling == "notebook" else 1 / pixels


def loss_and_gradient(
    params,
    image,
    content_image,
    style_image,
    *,
    scaling,
    pooling,
    content_layers,
    style_layers,
    weights,
):
    """α Σ c_l ‖F − P‖² / L + β Σ s_l ‖G − A‖² / L + γ t TV, and its gradient in the image."""
    content_features = features(params, content_image, pooling)
    style_grams = {
        name: gram(activations)
        for name, activations in features(params, style_image, pooling).items()
    }
    found = forward(params, image, pooling)
    generated = {name: activations for name, (activations, _) in found.items()}
    pixels = image.shape[0] * image.shape[1]
    c, s, t = coefficients(
        scaling, content_features, style_grams, generated, pixels, content_layers, style_layers
    )
    alpha, beta, gamma = weights
    loss, cotangents = 0.0, {}
    for layer in content_layers:
        value, slope = content_term(
            generated[layer], content_features[layer], alpha * c[layer] / len(content_layers)
        )
        loss, cotangents[layer] = loss + value, cotangents.get(layer, 0.0) + slope
    for layer in style_layers:
        value, slope = style_term(
            generated[layer], style_grams[layer], beta * s[layer] / len(style_layers)
        )
        loss, cotangents[layer] = loss + value, cotangents.get(layer, 0.0) + slope
    roughness, slope = total_variation(np.asarray(image, float))
    return loss + gamma * t * roughness, backward(
        params, found, cotangents, pooling
    ) + gamma * t * slope
