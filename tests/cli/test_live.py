import http.client
import io
import json
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import nst_jax as nst
from nst_jax import cli
from nst_jax.cli import live
from nst_jax.cli.live import live_page
from nst_jax.cli.progress import ProgressDisplay, StudyDisplay
from nst_jax.descent.schedule import Scale
from nst_jax.host.loopback import LoopbackServer, Served
from nst_jax.study.result import FinishedLane
from tests.report.test_report_page import browser  # noqa: F401
from tests.runs import QUICK

RED = np.broadcast_to(np.float32([1, 0, 0]), (30, 40, 3))


def progress(step, loss, image=RED):
    losses = np.float32(loss), None, np.float32(loss)
    return nst.Progress(step, 10, step / 10, *losses, image, (Scale((30, 40), 10 - step),))


@pytest.fixture
def server():
    with LoopbackServer() as running:
        running.paths["/"] = Served("text/plain", b"the page")
        yield running


def asked(server, path="/", **headers):
    """The status of an answer, and its bytes."""
    port = int(server.url.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(headers.pop("method", "GET"), path, headers=headers)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def test_what_is_in_memory_is_served_and_no_file_is(server, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    assert asked(server) == asked(server, "/?3") == (200, b"the page")
    paths = ["/other", str(secret), f"/..{secret}", f"//{secret}", "/.", "/%2e%2e/etc/passwd", "*"]
    paths += ["/etc/passwd"]
    for path in paths:
        status, data = asked(server, path)
        assert status == 404 and b"secret" not in data, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
        assert asked(server, method=method)[0] == 501


@pytest.mark.parametrize(
    "host", ["example.com", "127.0.0.1.example.com", "localhost.", "", "[::1]"]
)
def test_another_name_of_this_machine_is_refused(server, host):
    assert asked(server, Host=host)[0] == asked(server, Host=f"{host}:80")[0] == 403
    for right in ("localhost", "127.0.0.1", "localhost:8000"):
        assert asked(server, Host=right)[0] == 200


def test_it_listens_on_loopback_alone_and_answers_no_more_at_the_end(server):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server.url)
    port = int(server.url.rstrip("/").rpartition(":")[2])
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(1)
        other.connect(("127.0.0.2", port))  # loopback as well, so that this needs no network
    with LoopbackServer() as short:
        assert asked(short)[0] == 404
    with pytest.raises(OSError):
        asked(short)


def followed(run, capsys):
    """What the page's address answers while a run is shown on it, by path.

    However long this machine takes from one to the next, somebody looks.
    """
    with pytest.MonkeyPatch.context() as patched, live_page("out.png", wanted=True) as page:
        patched.setattr(live, "_WATCHED", 600.0)
        url = re.search(r"http://\S+", capsys.readouterr().err)[0]

        def get(path):
            with urllib.request.urlopen(url + path, timeout=5) as answer:
                return answer.read()

        run(page, get)
        watcher = threading.Thread(target=lambda: [time.sleep(0.3), ends.append(get("state"))])
        ends = []
        watcher.start()
    watcher.join()
    return json.loads(ends[0])


def test_a_page_follows_a_run(capsys):
    def run(page, get):
        assert b"<script>" in get("") and b"{{" not in get("")
        assert json.loads(get("state"))["title"] == "out.png"
        with ProgressDisplay(page) as display:
            for step, loss in enumerate([4.0, np.inf, 1.0], 1):
                display(progress(step, loss))
        state = json.loads(get("state"))
        assert state["steps"] == [1, 2, 3] and state["curves"] == [[4, None, 1]]
        assert state["status"].startswith("step 3 of 10 · 40 × 30 pixels · loss 1 · ")
        assert state["picture"] and not state["lanes"] and not state["ended"]
        with Image.open(io.BytesIO(get(f"picture?{state['picture']}"))) as picture:
            assert picture.size == (40, 30)
            np.testing.assert_allclose(np.asarray(picture)[15, 20], [255, 0, 0], atol=6)

    assert followed(run, capsys)["ended"]


def test_a_page_follows_a_study(capsys):
    def run(page, get):
        get("state")
        images = np.stack([RED, RED[..., ::-1]])
        lane = SimpleNamespace(loss=np.float32(2), failure="", image=RED[..., ::-1])
        failed = SimpleNamespace(loss=np.float32(np.inf), failure="gone", image=RED)
        with StudyDisplay(page) as display:
            display.start(3)
            display(progress(4, [3.0, 5.0], images))
            display.finish("<b>", FinishedLane(0, lane, 1.0, None))
            display.finish("two", FinishedLane(1, failed, 1.0, None))
            display(progress(1, [2.0], images[:1]))
        state = json.loads(get("state"))
        assert state["status"].startswith("2 of 3 lanes are done · step 1 of 10")
        assert state["steps"] == [1] and state["curves"] == [[2]]  # of the lane that runs
        assert state["done"] == pytest.approx(2.1 / 3)
        assert state["lanes"] == [
            {"name": "<b>", "text": "loss 2", "failed": False, "picture": "lane/0"},
            {"name": "two", "text": "FAILED: gone", "failed": True, "picture": None},
        ]
        with Image.open(io.BytesIO(get("lane/0"))) as picture:
            np.testing.assert_allclose(np.asarray(picture)[15, 20], [0, 0, 255], atol=6)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get("lane/1")

    assert followed(run, capsys)["ended"]


def test_a_picture_that_nobody_looks_at_is_not_made_and_curves_stay_short():
    with (
        LoopbackServer() as server,
        ProgressDisplay(page := cli.live.LivePage(server, "a")) as show,
    ):
        for step in range(1, 1301):
            show(progress(step, 1 / step)._replace(num_steps=1300, done=0.5))
        state = json.loads(server.paths["/state"].data)
        assert "/picture" not in server.paths and not state["picture"]
        assert 250 <= len(state["steps"]) <= 500 and state["steps"][0] == 1
        assert state["steps"] == sorted(state["steps"]) and state["steps"][-1] == 1300
        page.end()  # at once


@pytest.mark.slow
def test_the_command_says_where_its_page_is(photos, capsys):
    assert cli.main(["stylize", "photo.jpg", "painting.png", *QUICK, "--show"]) == 0
    assert re.match(r"follow it at http://127\.0\.0\.1:\d+/\n", capsys.readouterr().err)
    assert Path("photo_painting.png").exists()
    assert os.listdir() and not Path("photo_painting_preview.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_without_complaint(browser, width, capsys):  # noqa: F811
    complaints, images = [], np.stack([RED, RED[..., ::-1]])
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    lane = SimpleNamespace(loss=np.float32(2), failure="", image=RED)
    failed = SimpleNamespace(loss=np.float32(np.inf), failure="gone", image=RED)
    with live_page("a<i>b</i>", wanted=True) as live, StudyDisplay(live) as display:
        page.goto(re.search(r"http://\S+", capsys.readouterr().err)[0])
        display.start(4)
        for step in range(1, 4):
            display(progress(step, [3 / step, np.inf if step == 2 else 5 / step], images))
            page.wait_for_timeout(300)
        display.finish("x" * 70 + "<script>1</script>", FinishedLane(0, lane, 1.0, None))
        display.finish("two", FinishedLane(1, failed, 1.0, None))
        page.locator("#lanes figure").nth(1).wait_for(timeout=5000)
        assert page.locator("h1").inner_text() == page.title() == "a<i>b</i>"
        assert page.locator("#picture").evaluate("image => image.naturalWidth") == 40
        assert page.locator("#lanes img").evaluate("image => image.naturalWidth") == 40
        assert page.locator("#plot path.curve").count() == 2
        assert page.locator("#lanes .failed").inner_text() == "FAILED: gone"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_text("· done").wait_for(timeout=5000)
    page.close()
    assert not complaints
