"""A study's page: one HTML file, which links nothing but the full-size images."""

import base64
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nst_jax.files.images import read_result
from nst_jax.files.sheets import make_thumbnail
from nst_jax.report.evaluate import MEANS_ARE, means_over_layers

TO_COME = "to come"
"""The status of a lane that is not there yet."""

_DATA = Path(__file__).parent
_THUMBNAIL = 192  # pixels
_MOST_POINTS = 100


def make_page(
    folder: Path,
    study: Mapping[str, Any],
    lanes: Sequence[Mapping[str, Any]],
    grid: Mapping[str, Any],
    sizes: Sequence[tuple[int, int]] = (),
) -> str:
    """The page of a study, with its styles, its script and its data inside.

    Args:
        folder: The study's folder, where the page is to lie; the images are read from it.
        study: What `study.json` says.
        lanes: What each lane's record says, with its `name`.
        grid: Where the lanes go, as `nst_jax.report.lay_out` says it.
        sizes: Steps that begin a larger size of the image, each with its longest side in pixels.

    Returns:
        HTML that asks nothing of a network.
    """
    data = {
        "axes": study["axes"],
        "grid": grid,
        "sizes": sizes,
        "contents": {name: _image(folder, file) for name, file in study["contents"].items()},
        "styles": {name: _image(folder, file) for name, file in study["styles"].items()},
        "lanes": [_lane(folder, lane) for lane in lanes],
        "settings": study["settings"],
    }
    if any("evaluation" in lane for lane in lanes):
        data["measures"] = " ".join(MEANS_ARE)
    parts = {
        "title": html.escape(study["title"]),
        "css": (_DATA / "report.css").read_text(encoding="utf-8"),
        "js": (_DATA / "report.js").read_text(encoding="utf-8"),
        # No text in the data can end the script element that holds it.
        "data": json.dumps(
            data, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).replace("<", "\\u003c"),
    }
    template = (_DATA / "report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _lane(folder: Path, lane: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a lane."""
    shown = (
        "name",
        "coordinates",
        "status",
        "reason",
        "best_loss",
        "best_step",
        "steps",
        "seconds",
        "lpips",
    )
    means = means_over_layers(lane["evaluation"]) if "evaluation" in lane else {}
    lpips = means.pop("LPIPS", None)
    measured: dict[str, Any] = {"evaluation": means} if means else {}
    if lpips is not None:
        measured["lpips"] = lpips
    return {
        **{name: lane[name] for name in shown},
        **measured,
        "settings": lane["lane"],
        # without a record, a picture is none of this study's
        "image": None if lane["status"] == TO_COME else _image(folder, f"lanes/{lane['name']}.png"),
        "curve": _curve(lane["history"]["loss"]),
    }


def _image(folder: Path, file: str) -> dict[str, Any] | None:
    """An image's link, its shape and its thumbnail, or None where there is no such file."""
    path = folder / file
    if not path.exists():
        return None
    image = read_result(path)
    thumbnail = base64.b64encode(make_thumbnail(image, _THUMBNAIL)).decode()
    return {
        "url": quote(file),
        "width": image.shape[1],
        "height": image.shape[0],
        "thumbnail": f"data:image/webp;base64,{thumbnail}",
    }


def _curve(losses: Sequence[float | None]) -> list[list[Any]]:
    """At most 100 steps, from 1, with their losses to four digits."""
    num_points = min(len(losses), _MOST_POINTS)
    indices = [index * (len(losses) - 1) // max(num_points - 1, 1) for index in range(num_points)]
    return [
        [index + 1 for index in indices],
        [None if losses[index] is None else float(f"{losses[index]:.4g}") for index in indices],
    ]
