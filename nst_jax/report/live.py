"""The page that follows a run or a study: HTML that polls `state`, beside it, each second."""

import re
from pathlib import Path

_DATA = Path(__file__).parent


def make_live_page() -> str:
    """The page, with its styles and its script inside.

    It shows what `state` says as JSON: `title`, `status`, `steps` and `curves` (of each lane that
    runs, losses at those steps or null), `picture` (its number, 0 where there is none; it is asked
    for as `picture?NUMBER`), `caption`, `lanes` (of each that has ended `name`, `text`, `failed`,
    and `picture`, its path or null), and `ended`.
    """
    parts = {name: (_DATA / f"{name}").read_text(encoding="utf-8") for name in _PARTS}
    return re.sub(r"\{\{([\w.]+)\}\}", lambda match: parts[match[1]], parts["live.html"])


_PARTS = ("live.html", "live.js", "report.css")
