import base64
import csv
import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from nst_jax.files.images import write_image
from nst_jax.files.sheets import make_thumbnail
from nst_jax.report.evaluate import LAYERS, SCALES, Evaluation
from nst_jax.report.plots import make_loss_plot
from nst_jax.report.sheets import make_labelled_sheet
from nst_jax.report.write import lay_out, write_report

REASON = "the style term of conv1_1 at step 3 is not finite; make the weights smaller"

MEASURED = Evaluation(
    lpips=0.25,
    cfsd=0.0,
    colours=0.5,
    gram={
        scale: {layer: place + size for place, layer in enumerate(LAYERS)}
        for size, scale in enumerate(SCALES)
    },
    w2=dict.fromkeys(LAYERS, 0.75),
    sliced=dict.fromkeys(LAYERS, 0.125),
)


def smooth_image(rng, height=48, width=64):
    """Random blobs, which compress as pictures do."""
    blobs = rng.integers(0, 256, (height // 16, width // 16, 3)).astype(np.uint8)
    return (
        np.asarray(
            Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC), np.float32
        )
        / 255
    )


def write_study(
    folder,
    rng,
    axes,
    *,
    zipped=False,
    failed=(),
    title="photo × painting",
    names=None,
    num_steps=150,
    size=(48, 64),
    measured=(),
    **study,
):
    """Writes the folder of a study whose lane i has the best loss (7 i mod 10) + 1, reached at its
    last step."""
    write_image(folder / "content_photo.png", smooth_image(rng, *size))
    write_image(folder / "style_painting.png", smooth_image(rng, *size))
    (folder / "lanes").mkdir()
    places = list(zip(*axes.values(), strict=True) if zipped else itertools.product(*axes.values()))
    names = names or [
        ",".join(f"{axis}={label}" for axis, label in zip(axes, labels, strict=True)) or "result"
        for labels in places
    ]
    for index, (name, labels) in enumerate(zip(names, places, strict=True)):
        bad, best = index in failed, float(7 * index % 10 + 1)
        steps = 2 if bad else num_steps
        losses = (
            [None, None] if bad else [best * num_steps / step for step in range(1, num_steps + 1)]
        )
        lane = {
            "coordinates": dict(zip(axes, labels, strict=True)),
            "lane": {
                "content": "photo",
                "style": "painting",
                "style_weight": 20.0,
                "layer_weights": None,
                "seed": index,
            }
            | {
                "content_layers": ["conv2_2"],
                "style_layers": ["conv1_1", "conv2_1"],
                "pooling": "avg",
            },
            "status": "failed" if bad else "finished",
            "reason": REASON if bad else None,
            "best_loss": None if bad else best,
            "best_step": 0 if bad else steps,
            "steps": steps,
            "seconds": 1.5,
            "lpips": None if index % 2 else 0.1 + index / 3,
            "history": {
                "loss": losses,
                "terms": {
                    "content": {"conv2_2": losses},
                    "style": {"conv1_1": losses, "conv2_1": losses},
                    "total_variation": {"all": losses},
                },
            },
        }
        if index in measured:
            lane["evaluation"] = MEASURED.numbers() | {"cfsd": 1e-4 / (index + 1)}
        (folder / "lanes" / f"{name}.json").write_text(json.dumps(lane))
        if not bad:
            write_image(folder / "lanes" / f"{name}.png", smooth_image(rng, *size))
    record = {
        "title": title,
        "axes": axes,
        "zipped": zipped,
        "lanes": names,
        "contents": {"photo": "content_photo.png"},
        "styles": {"painting": "style_painting.png"},
        "settings": {"network": {"name": "vgg16"}, "size": 64, "versions": {"jax": "0.10.2"}},
    }
    (folder / "study.json").write_text(json.dumps(record | study))
    return folder


GRID = {"style_weight": ["5", "20", "80"], "seed": ["0", "1"]}


@pytest.fixture
def study(tmp_path, rng):
    return write_study(tmp_path, rng, GRID, failed=(3,))


def page_data(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    return page, json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    )


@pytest.mark.slow
def test_the_report_is_four_whole_files(study):
    before = set(study.iterdir())
    write_report(study)
    assert {path.name for path in set(study.iterdir()) - before} == {
        "lanes.csv",
        "contact_sheet.png",
        "losses.png",
        "index.html",
    }
    write_report(study)  # over itself


@pytest.mark.slow
def test_what_was_there_stays_when_the_page_cannot_be_made(study, monkeypatch):
    write_report(study)
    before = (study / "index.html").read_bytes()
    # which UTF-8 cannot hold
    monkeypatch.setattr("nst_jax.report.write.make_page", lambda *_: "\ud800")
    with pytest.raises(UnicodeEncodeError):
        write_report(study)
    assert (study / "index.html").read_bytes() == before
    assert not list(study.glob(".*"))


def test_steps_that_begin_a_larger_size_are_marked(study):
    for path in (study / "lanes").glob("*.json"):
        record = json.loads(path.read_text())
        steps = len(record["history"]["loss"])
        record["history"]["size"] = [16] * 2 + [32] + [64] * (steps - 3)
        path.write_text(json.dumps(record))
    write_report(study)
    assert page_data(study)[1]["sizes"] == [[3, 32], [4, 64]]


def read_table(folder):
    with (folder / "lanes.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_table_holds_each_lane_in_order_to_the_last_digit(study):
    write_report(study)
    rows = read_table(study)
    assert [row["lane"] for row in rows] == json.loads((study / "study.json").read_text())["lanes"]
    assert [row["seed"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert rows[0]["style_layers"] == "conv1_1 conv2_1" and rows[0]["layer_weights"] == ""
    assert rows[4]["lpips"] == repr(0.1 + 4 / 3) and rows[1]["lpips"] == ""
    failed = rows[3]
    assert (
        (failed["status"], failed["reason"], failed["best_loss"], failed["style_conv1_1"])
        == (
            rows[3]["status"],
            rows[3]["reason"],
            rows[3]["best_loss"],
            rows[3]["style_conv1_1"],
        )
        == (
            "failed",
            REASON,
            "",
            "",
        )
    )
    assert (rows[1]["best_loss"], rows[1]["best_step"], rows[1]["steps"]) == ("8.0", "150", "150")


@pytest.mark.slow
def test_the_table_takes_the_terms_at_the_best_step_and_unites_the_layers(study):
    names = json.loads((study / "study.json").read_text())["lanes"]
    path = study / "lanes" / f"{names[0]}.json"
    lane = json.loads(path.read_text())
    lane["best_step"] = 2
    lane["history"]["terms"]["style"] = {"conv5_1": [0.5, 0.25, 0.125]}
    lane["history"]["terms"]["total_variation"] = {"all": [3.0, 2.0, 1.0]}
    path.write_text(json.dumps(lane))
    write_report(study)
    rows = read_table(study)
    columns = list(rows[0])
    assert (rows[0]["style_conv5_1"], rows[0]["style_conv1_1"], rows[0]["total_variation"]) == (
        "0.25",
        "",
        "2.0",
    )
    assert rows[1]["style_conv5_1"] == "" and rows[1]["style_conv1_1"] == "8.0"
    assert columns[columns.index("best_loss") + 1] == "content_conv2_2" and columns[-2:] == [
        "total_variation",
        "lpips",
    ]


def test_the_table_takes_what_was_measured_under_names_that_are_free(tmp_path, rng):
    study = write_study(tmp_path, rng, GRID, measured=(1, 2))
    write_report(study)
    assert not {"colours_distance", "w2_conv1_2_distance"} & set(read_table(study)[0])
    path = study / "lanes" / "style_weight=5,seed=0.json"
    lane = json.loads(path.read_text())
    lane["lane"]["colours"] = "style"  # a setting of all lanes of the command
    lane["history"]["terms"]["w2"] = {"conv1_2": [7.0] * 150}  # a term of one's own
    path.write_text(json.dumps(lane))
    write_report(study)
    bare, first, *_ = read_table(study)
    assert (bare["colours"], bare["w2_conv1_2"], bare["colours_distance"]) == ("style", "7.0", "")
    assert (first["colours_distance"], first["w2_conv1_2_distance"]) == ("0.5", "0.75")
    assert (first["cfsd"], first["gram_half_conv3_3"]) == (repr(1e-4 / 2), "3")
    assert (bare["lpips"], first["lpips"]) == ("0.1", "0.25")  # of the picture as it was written
    assert list(first)[-1] == "sliced_conv4_3"
    data = page_data(study)[1]
    assert [lane["lpips"] for lane in data["lanes"][:2]] == [0.1, 0.25]
    assert [("evaluation" in lane) for lane in data["lanes"]] == [False, True, True] + [False] * 3


def test_a_grid_has_the_last_axis_in_its_columns():
    grid = lay_out({"content": ["a", "b"], "style_weight": ["5"], "seed": ["0", "1"]}, zipped=False)
    assert grid["rows"] == [[0, 1], [2, 3]]
    assert grid["column_labels"] == ["seed = 0", "seed = 1"]
    assert grid["row_labels"] == ["content = a\nstyle_weight = 5", "content = b\nstyle_weight = 5"]
    assert (
        lay_out({}, zipped=True)
        == lay_out({}, zipped=False)
        == {"rows": [[0]], "row_labels": [""], "column_labels": [""]}
    )


def test_lanes_in_step_lie_near_a_square():
    grid = lay_out({"a": ["1", "2", "3", "4", "5"], "b": ["6", "7", "8", "9", "0"]}, zipped=True)
    assert grid["rows"] == [[0, 1, 2], [3, 4]]
    assert grid["captions"] == [
        ["a = 1\nb = 6", "a = 2\nb = 7", "a = 3\nb = 8"],
        ["a = 4\nb = 9", "a = 5\nb = 0"],
    ]
    assert len(lay_out({"seed": [str(seed) for seed in range(100)]}, zipped=False)["rows"]) == 10


def find(sheet, image):
    """The places (row, column) where a sheet holds an image, exactly."""
    height, width = image.shape[:2]
    starts = np.argwhere(np.all(sheet == image[0, 0], axis=-1))
    return [
        (y, x) for y, x in starts if np.array_equal(sheet[y : y + height, x : x + width], image)
    ]


def test_the_sheet_holds_each_image_pixel_by_pixel(rng):
    images = [[rng.random((20, 30, 3)).astype(np.float32) for _ in range(3)] for _ in range(2)]
    sheet = make_labelled_sheet(images, ["first", "second"], ["a", "b", "c"], "title")
    places = np.array([[find(sheet, image) for image in row] for row in images])
    assert places.shape == (2, 3, 1, 2)
    assert (
        np.all(np.diff(places[..., 0, 0], axis=0) >= 20)
        and np.ptp(places[..., 0, 0], axis=1).max() == 0
    )
    assert (
        np.all(np.diff(places[..., 0, 1], axis=1) >= 30)
        and np.ptp(places[..., 0, 1], axis=0).max() == 0
    )
    assert sheet.dtype == np.float32 and sheet.min() >= 0 and sheet.max() <= 1


def test_the_sheet_resizes_to_the_cell(rng):
    white = np.zeros((20, 40, 3), np.float32)
    sheet = make_labelled_sheet([[white]], cell=100)
    assert np.all(sheet == 0, axis=-1).sum() == 50 * 100


def test_a_failed_lane_is_a_grey_cell_with_text(rng):
    image = rng.random((60, 80, 3)).astype(np.float32)
    sheet = make_labelled_sheet([[image, None]])
    [(y, x)] = find(sheet, image)
    cell = sheet[y : y + 60, x + 80 + 8 : x + 80 + 8 + 80]
    assert np.allclose(cell[0], 0.85) and np.allclose(cell[-1], 0.85)
    assert cell[20:40].min() < 0.4


LONG = "a_rather_long_label that goes on, and on; " + "x" * 60


@pytest.mark.parametrize("label", ["short", LONG, "costs $5 or $x^2$", "日本語"])
@pytest.mark.parametrize("where", ["row_labels", "column_labels", "captions", "title"])
def test_no_label_is_cut_or_lies_over_an_image_or_another(where, label, recwarn):
    black = np.zeros((24, 40, 3), np.float32)
    images = [[black + 0.5, black + 0.5], [black + 0.5, black + 0.5]]
    given = {"title": label, "captions": [[label, label], [label, label]]}.get(
        where, [label, label]
    )
    sheet = make_labelled_sheet(images, **{where: given})
    frame = np.ones(sheet.shape[:2], bool)
    frame[6:-6, 6:-6] = False
    assert np.all(sheet[frame] == 1), "ink in the margin"
    assert np.all(sheet == 0.5, axis=-1).sum() == 4 * 24 * 40, "ink over an image"
    ink = sheet.min(axis=-1) < 0.4
    if where in ("column_labels", "captions"):  # the same ink in both columns, with a gap between
        used = np.flatnonzero(ink.any(axis=0))
        middle = sheet.shape[1] // 2
        assert not ink[:, middle - 2 : middle + 2].any()
        assert (used < middle).sum() == pytest.approx((used > middle).sum(), abs=2)
    assert not recwarn.list
    letters = len(label.replace(" ", ""))
    assert ink.sum() > 8 * letters, "letters are missing"


@pytest.mark.slow
def test_the_loss_plot_shows_every_lane_and_survives_gaps():
    few = make_loss_plot(
        [[4.0, 2.0, None, 1.0], [None, None], [3.0], []], ["a", "_b", "$c", "d"], title="t"
    )
    assert few.shape == (720, 1200, 3)
    colours = {tuple(colour) for colour in np.round(few.reshape(-1, 3) * 255).astype(int)}
    # a's curve, and all three in the legend
    assert {(31, 119, 180), (255, 127, 14), (44, 160, 44)} <= colours


@pytest.mark.slow
def test_many_lanes_are_coloured_by_their_group():
    losses = [[10.0 * (group + 1), 5.0 * (group + 1)] for group in range(4) for _ in range(25)]
    labels = [f"lane {index}" for index in range(100)]
    groups = [str(index // 25) for index in range(100)]
    grouped = make_loss_plot(losses, labels, groups, "style_weight")
    alone = make_loss_plot(losses, labels)
    assert grouped.shape == alone.shape == (720, 1200, 3)
    hues = [
        np.unique(np.round(plot[:, :1000].reshape(-1, 3), 1), axis=0) for plot in (grouped, alone)
    ]
    assert len(hues[0]) < len(hues[1])


def test_a_legend_too_tall_makes_the_plot_taller():
    assert (
        make_loss_plot([[2.0, 1.0]] * 12, [f"{index} {LONG} {LONG}" for index in range(12)]).shape[
            0
        ]
        > 1000
    )


def test_drawing_leaves_no_figure_open():
    import matplotlib.pyplot as plt

    make_labelled_sheet([[None]])
    make_loss_plot([[1.0]], ["a"])
    assert not plt.get_fignums()


@pytest.mark.slow
@pytest.mark.parametrize(
    "axes",
    [
        {"seed": [str(seed) for seed in range(100)]},
        {"a": list("0123456789"), "seed": list("0123456789")},
    ],
)
def test_the_contact_sheet_of_a_hundred_lanes_is_no_giant(tmp_path, rng, axes):
    write_report(write_study(tmp_path, rng, axes, num_steps=3))
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert 2000 < max(sheet.size) < 4000


def test_a_thumbnail_is_small_and_never_enlarged(rng):
    with Image.open(io.BytesIO(make_thumbnail(smooth_image(rng, 480, 640), 192))) as thumbnail:
        assert thumbnail.format == "WEBP" and thumbnail.size == (192, 144)
    with Image.open(io.BytesIO(make_thumbnail(smooth_image(rng, 32, 48), 192))) as thumbnail:
        assert thumbnail.size == (48, 32)


def test_the_page_holds_what_the_study_says(study):
    write_report(study)
    page, data = page_data(study)
    assert "<title>photo × painting</title>" in page and "{{" not in page
    assert not re.search(r'(?:src|href)="(?!data:|lanes\.csv|contact_sheet\.png|losses\.png)', page)
    assert [lane["name"] for lane in data["lanes"]] == json.loads(
        (study / "study.json").read_text()
    )["lanes"]
    assert data["lanes"][3]["image"] is None and data["lanes"][3]["reason"] == REASON
    assert data["lanes"][0]["image"]["url"] == "lanes/style_weight%3D5%2Cseed%3D0.png"
    steps, losses = data["lanes"][1]["curve"]
    assert len(steps) == len(losses) == 100 and (steps[0], steps[-1]) == (1, 150)
    assert losses[-1] == 8 and losses[1] == float(f"{8 * 150 / steps[1]:.4g}")
    assert data["lanes"][3]["curve"] == [[1, 2], [None, None]]
    image = data["contents"]["photo"]["thumbnail"].removeprefix("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(image))) as thumbnail:
        assert thumbnail.size == (64, 48)


HOSTILE = '</script><script>window.hacked = 1</script>{{data}}&"'


def test_no_text_ends_the_script_or_the_title(tmp_path, rng):
    write_study(
        tmp_path,
        rng,
        {HOSTILE: [HOSTILE]},
        names=["<!--<script>"],
        title=HOSTILE,
        settings={HOSTILE: HOSTILE},
    )
    write_report(tmp_path)
    page, data = page_data(tmp_path)
    assert page.count("<script") == page.count("</script>") == 2
    assert (
        "<title>&lt;/script&gt;&lt;script&gt;window.hacked = "
        "1&lt;/script&gt;{{data}}&amp;&quot;</title>"
    ) in page
    assert data["settings"] == {HOSTILE: HOSTILE} and data["lanes"][0]["name"] == "<!--<script>"


def test_numbers_that_json_lacks_count_as_missing(study):
    name = json.loads((study / "study.json").read_text())["lanes"][0]
    path = study / "lanes" / f"{name}.json"
    path.write_text(path.read_text().replace('"seconds": 1.5', '"seconds": NaN'))
    write_report(study)
    assert page_data(study)[1]["lanes"][0]["seconds"] is None


def test_a_reconstruction_has_no_style(tmp_path, rng):
    write_study(tmp_path, rng, {}, styles={})
    write_report(tmp_path)
    assert page_data(tmp_path)[1]["styles"] == {}
