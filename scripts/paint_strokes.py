"""Paints `nst_jax/cli/brush_strokes.jpg`, the style of the demo: a night of visible brush strokes
that belongs to nobody else.

    python scripts/paint_strokes.py nst_jax/cli/brush_strokes.jpg

Strokes follow a field of whirls around the lights of the sky; each is a bundle of bristles whose
colours differ a little.
"""

import sys

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, OVERSAMPLING = 720, 560, 2
LIGHTS = np.array(
    [
        (0.80, 0.20, 0.085),
        (0.16, 0.17, 0.05),
        (0.38, 0.12, 0.035),
        (0.57, 0.33, 0.045),
        (0.10, 0.47, 0.035),
        (0.31, 0.40, 0.055),
    ]
)
"""Centre and radius of each light, in units of the canvas's width, height and width."""


def hills(x):
    """Height of the horizon at `x`, both in units of the canvas."""
    return 0.70 + 0.05 * np.sin(5.2 * x + 0.6) + 0.025 * np.sin(13 * x + 2)


def angle_at(x, y):
    """Direction of the strokes at a point."""
    ratio = HEIGHT / WIDTH
    u, v = np.cos(0.5 * np.sin(6 * x + 3 * y)), np.sin(0.9 * np.sin(5 * x - 4 * y))
    if y > hills(x):
        return 0.5 * np.cos(9 * x + 14 * y) + (
            0.9 if int(24 * (y - hills(x) + 0.2 * x)) % 2 else -0.25
        )
    for cx, cy, radius in LIGHTS:
        dx, dy = x - cx, (y - cy) * ratio
        distance = np.hypot(dx, dy) + 1e-6
        pull = 3.5 * np.exp(-((distance / (2.6 * radius)) ** 2))
        u, v = u - pull * dy / distance, v + pull * dx / distance
    return np.arctan2(v, u)


def colour_at(x, y, rng):
    """Colour of a stroke at a point, sRGB in 0–255."""
    if y > hills(x):
        depth = (y - hills(x)) / 0.3
        near = np.array(
            [(196, 144, 38), (62, 92, 48), (150, 74, 30), (34, 58, 52), (222, 186, 84)][
                int(7 * depth + 3 * np.sin(7 * x)) % 5
            ]
        )
        colour = near if rng.random() < 0.75 else np.array((24, 34, 40))
    else:
        palette = np.array(
            [(18, 32, 92), (30, 66, 150), (62, 112, 188), (120, 164, 206), (14, 20, 56)]
        )
        band = 2 + 1.6 * np.sin(9 * y + 4 * np.sin(4 * x)) + rng.normal(0, 0.7)
        colour = palette[int(np.clip(band, 0, 4))].astype(float)
        for cx, cy, radius in LIGHTS:
            distance = np.hypot(x - cx, (y - cy) * HEIGHT / WIDTH) / radius
            if distance < 0.75:
                colour = np.array((252, 214, 84) if rng.random() < 0.7 else (240, 150, 40), float)
            elif distance < 2.4:
                ring = 0.5 + 0.5 * np.cos(7 * distance)
                share = (0.35 + 0.6 * ring) * np.exp(-((distance - 0.7) ** 2) / 1.6)
                colour = (1 - share) * colour + share * np.array((226, 216, 132), float)
    return np.clip(colour * rng.uniform(0.85, 1.18) + rng.normal(0, 9, 3), 0, 255)


def paint(draw, x, y, length, width, rng):
    """One stroke: a bundle of bristles along the field, in pixels of the oversampled canvas."""
    colour, points = colour_at(x / WIDTH, y / HEIGHT, rng), [(x, y)]
    for _ in range(int(length / 4)):
        angle = angle_at(x / WIDTH, y / HEIGHT)
        x, y = x + 4 * np.cos(angle), y + 4 * np.sin(angle)
        points.append((x, y))
    path = np.array(points)
    tangent = np.gradient(path, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / (
        np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-6
    )
    taper = np.sin(np.linspace(0.35, np.pi - 0.25, len(path)))[:, None]
    for offset in np.linspace(-1, 1, int(width)):
        # The upper edge catches the light and the lower one is in shade, as on thick paint.
        shade = 1.0 - 0.22 * offset + rng.normal(0, 0.07)
        line = (path + normal * offset * taper * width / 2) * OVERSAMPLING
        bristle = tuple(int(value) for value in np.clip(colour * shade, 0, 255))
        draw.line([tuple(point) for point in line], fill=bristle, width=OVERSAMPLING + 1)


def main() -> None:
    rng = np.random.default_rng(7)
    canvas = Image.new("RGB", (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING), (24, 36, 84))
    draw = ImageDraw.Draw(canvas)
    for count, length, width in ((2500, 60, 14), (5200, 40, 9), (3800, 26, 6)):
        for _ in range(count):
            paint(
                draw,
                rng.uniform(-20, WIDTH),
                rng.uniform(-10, HEIGHT),
                length * rng.uniform(0.6, 1.3),
                width * rng.uniform(0.8, 1.2),
                rng,
            )
    canvas.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(sys.argv[1], quality=88)


if __name__ == "__main__":
    main()
