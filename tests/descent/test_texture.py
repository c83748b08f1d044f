"""Textures: pictures without content, of any size."""

import json

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax import cli
from nst_jax.descent.start import mean_colour, noise_around
from nst_jax.objective.styles import make_style

LAYERS = ("conv1_1", "conv2_1")


def steps_by_line(tile, axis):
    """Mean difference of neighbours between a row or column and the next; the last is the seam."""
    return np.abs(np.roll(tile, -1, axis) - tile).mean((1 - axis, 2))


def test_it_grows_from_faint_noise_around_the_mean_colour(rng):
    images = [rng.random((20, 30, 3), np.float32) ** power for power in (1, 3)]
    colour = 0.3 * images[0].mean((0, 1)) + 0.7 * images[1].mean((0, 1))
    flat = mean_colour(make_style(images, (3, 7)), (40, 50))
    np.testing.assert_allclose(flat, np.broadcast_to(colour, (40, 50, 3)), rtol=1e-5)
    noise = np.asarray(noise_around(flat, jax.random.key(1))) - flat
    assert 0.045 < np.abs(noise).max() <= 0.05001 and abs(noise.mean()) < 1e-3


@pytest.mark.slow
def test_it_has_any_size_and_the_same_seed_makes_the_same(vgg16_params, rng):
    source = rng.random((40, 48, 3), np.float32)
    config = nst.TransferConfig(border="replicate", num_steps=20, style_layers=LAYERS)
    found, again, other = (
        nst.texture(vgg16_params, source, (96, 200), config, key=jax.random.key(seed))
        for seed in (2, 2, 3)
    )
    assert found.image.shape == (96, 200, 3) and found.sizes.tolist()[:2] == [100, 100]
    assert set(found.terms) == {"style", "grain", "total_variation"}
    assert float(found.loss) < 0.1 * found.losses[0]
    np.testing.assert_array_equal(again.image, found.image)
    assert np.abs(np.asarray(other.image) - found.image).max() > 0.1


@pytest.mark.slow
def test_a_texture_that_wraps_has_no_seam(vgg16_params, rng):
    rough = rng.random((64, 64, 3), np.float32)
    source = sum(np.roll(rough, shift, (0, 1)) for shift in ((0, 0), (0, 1), (1, 0), (1, 1))) / 4
    found = {}
    for border in ("replicate", "wrap"):
        config = nst.TransferConfig(border=border, num_steps=80, style_layers=LAYERS)
        tile = np.asarray(nst.texture(vgg16_params, source, (32, 512), config).image)
        found[border] = [steps_by_line(tile, axis) for axis in (0, 1)]
    assert found["replicate"][0][-1] > 1.5 * found["replicate"][0][:-1].mean()
    long, short = found["wrap"]
    np.testing.assert_allclose(long[-1] / long[:-1].mean(), 1, atol=0.05)
    # of 32 pixels, about as other columns are
    assert abs(short[-1] - short[:-1].mean()) < 3 * short[:-1].std()


@pytest.mark.slow
def test_it_descends_on_the_weights_or_the_loss_that_are_given(vgg16_params, rng):
    source = rng.random((32, 48, 3), np.float32)
    config = nst.TransferConfig(border="replicate", num_steps=8, style_layers=LAYERS)
    weights = nst.LossWeights(style=5.0, grain=None, neighbours=3.0)
    found = nst.texture(vgg16_params, source, (48, 48), config, weights)
    assert set(found.terms) == {"style", "total_variation", "neighbours"}
    loss = 5.0 * nst.style(LAYERS) + 3.0 * nst.NearestNeighbours(layers=("conv3_1", "conv4_1"))
    own = nst.texture(vgg16_params, source, (48, 48), config, loss=loss)
    assert set(own.terms) == {"style", "nearest_neighbours"}
    np.testing.assert_allclose(own.losses[0], found.losses[0], rtol=1e-5)
    with pytest.raises(nst.ConfigError, match="both weights and loss are given"):
        nst.texture(vgg16_params, source, (48, 48), config, weights, loss=loss)


def test_what_cannot_be_is_refused(vgg16_params, rng):
    source = rng.random((40, 48, 3), np.float32)
    wrapped, recoloured = (
        nst.TransferConfig(**{name: value}, style_layers=("conv5_1",))
        for name, value in (("border", "wrap"), ("colours", "luminance"))
    )
    with pytest.raises(nst.ConfigError, match="shape of 48 × 32 or 48 × 48"):
        nst.texture(vgg16_params, source, (40, 48), wrapped)
    with pytest.raises(nst.ConfigError, match="there is no content to take them from"):
        nst.texture(vgg16_params, source, (48, 48), recoloured)
    with pytest.raises(nst.ConfigError, match=r"shape is \(48,\); give \(height, width\)"):
        nst.texture(vgg16_params, source, (48,))


COMMAND = ["texture", "painting.png", "photo.jpg", "--network", "vgg16", "--style-size", "48"]
COMMAND += ["--num-steps", "6", "--style-layers", "conv1_1", "conv2_1", "--size", "64", "48"]


@pytest.mark.slow
def test_the_command_blends_records_and_makes_it_again(photos, capfd):
    assert cli.main([*COMMAND, "--wrap", "--style-mix", "3", "7", "--seed", "5"]) == 0
    record = json.loads((photos / "painting_photo_texture.json").read_text())
    settings = record["settings"]
    assert (settings["width"], settings["height"], settings["border"]) == (64, 48, "wrap")
    assert "content" not in settings["inputs"] and len(settings["inputs"]["style"]) == 2
    assert cli.main([*COMMAND, "--wrap"]) == 2
    assert "is there already; pass --overwrite" in capfd.readouterr().err
    assert cli.main(["rerun", "painting_photo_texture.json"]) == 0
    first, again = (nst.read_image(f"painting_photo_texture{end}.png") for end in ("", "_rerun"))
    assert first.shape == (48, 64, 3)
    np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize(
    "words, border",
    [
        ([], "replicate"),
        (["--wrap"], "wrap"),
        (["--wrap", "both"], "wrap"),
        (["--wrap", "x"], "wrap_x"),
        (["--wrap", "y"], "wrap_y"),
        (["--wrap", "y", "x"], "wrap"),
    ],
)
def test_a_texture_tiles_along_the_sides_that_are_named(photos, monkeypatch, words, border):
    asked = []
    monkeypatch.setattr("nst_jax.cli.texture.run_and_say", lambda job, show: asked.append(job))
    assert cli.main([*COMMAND, *words]) == 0
    (job,) = asked
    assert job.preset.config.border == border


def test_the_command_says_what_a_texture_has_of_its_source(photos, monkeypatch):
    asked = []
    monkeypatch.setattr("nst_jax.cli.texture.run_and_say", lambda job, show: asked.append(job))
    assert cli.main([*COMMAND, "--neighbours-weight", "5", "--style-loss", "covariance"]) == 0
    assert cli.main([*COMMAND, "--grain-weight", "0"]) == 0
    matched, plain = (job.preset for job in asked)
    assert matched.neighbours_weight == 5 and matched.config.style_loss == "covariance"
    assert matched.config.style_layers == LAYERS
    assert plain.grain_weight == 0 and plain.neighbours_weight == nst.Preset().neighbours_weight


@pytest.mark.slow
def test_one_side_alone_has_no_seam(vgg16_params, rng):
    rough = rng.random((64, 64, 3), np.float32)
    source = sum(np.roll(rough, shift, (0, 1)) for shift in ((0, 0), (0, 1), (1, 0), (1, 1))) / 4
    config = nst.TransferConfig(border="wrap_x", num_steps=80, style_layers=LAYERS)
    tile = np.asarray(nst.texture(vgg16_params, source, (512, 32), config).image)
    seams = []
    for axis in (0, 1):
        steps = steps_by_line(tile, axis)
        seams.append(steps[-1] / steps[:-1].mean())
    assert seams[0] > 1.5 and abs(seams[1] - 1) < 0.05


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--wrap", "--size", "65", "48"], "65 × 48 pixels cannot wrap"),
        (["--wrap", "y", "--size", "65", "47"], "of 65 × 46 or 65 × 48"),
        (["--wrap", "z"], "--wrap"),
        (
            ["--size", "8", "48"],
            "a texture of 8 × 48 is too small; each side must be at least 16 pixels",
        ),
        (["--size", "640000", "48000"], "has more than"),
        (["--style-mix", "1"], "--style-mix has 1 number, but there are 2 style images"),
    ],
)
def test_the_command_says_in_a_line_what_cannot_be(photos, capfd, arguments, said):
    assert cli.main([*COMMAND, *arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and said in lines[0]
    assert not list(photos.glob("*texture*"))


def test_without_content_a_run_begins_from_noise(vgg16_params, rng):
    style = rng.random((32, 32, 3), np.float32)
    with pytest.raises(nst.ConfigError, match="without a content image a run begins from noise"):
        next(nst.descend(vgg16_params, (32, 32), style, nst.TransferConfig()))
