"""The time left, by a clock of the test's own."""

import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent.schedule import Scale, make_schedule
from nst_jax.descent.time_left import TimeLeft, seconds_for

PIECES = (1, 2, 4, 8, 10)  # steps, the last again and again


def followed(scales, rates, started=20.0, compiling=30.0):
    """The time, the progress and the seconds that are truly left after each piece of a run.

    It starts, compiles at each size, and then takes `rates` seconds a step there.
    """
    now, made, seen = started, 0, []
    for index, (scale, rate) in enumerate(zip(scales, rates, strict=True)):
        now, left, pieces = now + compiling, scale.num_steps, iter(PIECES)
        piece = 0
        while left:
            piece = min(next(pieces, PIECES[-1]), left)
            now, made, left = now + piece * rate, made + piece, left - piece
            ahead = (Scale(scale.shape, left), *scales[index + 1 :])
            seen.append((now, progress(made, ahead)))
    truly = [now - moment for moment, _ in seen]
    return [(moment, shown, rest) for (moment, shown), rest in zip(seen, truly, strict=True)]


def progress(step, ahead):
    total = step + sum(scale.num_steps for scale in ahead)
    return nst.Progress(step, total, step / total, *[np.float32(1)] * 3, None, ahead)


@pytest.mark.parametrize(("init", "num_steps"), [("content", 500), ("content", 60), ("noise", 500)])
def test_after_a_tenth_of_the_time_the_rest_is_known_within_a_quarter(init, num_steps):
    """A step costs by its pixels and a little beside, as on two cores."""
    scales = make_schedule((384, 512), nst.TransferConfig(num_steps=num_steps, init=init))
    rates = [0.03 + 1e-5 * np.prod(scale.shape) for scale in scales]
    clock, seen = TimeLeft(), followed(scales, rates, compiling=0.0)
    told = [(clock.see(now, shown), rest, now, len(shown.ahead) - 1) for now, shown, rest in seen]
    total = seen[-1][0] - 20
    late = [(left, rest) for left, rest, now, _ in told if now - 20 >= total / 10 and rest > 0]
    assert len(late) > 5
    for left, rest in late:
        assert left == pytest.approx(rest, rel=0.25)
    at_full_size = [(left, rest) for left, rest, _, to_come in told if not to_come][1:]
    for left, rest in at_full_size:
        assert left == pytest.approx(rest, rel=1e-6, abs=1e-6)


def test_start_and_compilation_do_not_count():
    scales = [Scale((64, 64), 10), Scale((128, 128), 90)]
    (clock, patient), (seen, slow) = (
        (TimeLeft(), TimeLeft()),
        [followed(scales, (0.5, 2.0), *waits) for waits in ((0.0, 0.0), (900.0, 300.0))],
    )
    quick = [clock.see(now, shown) for now, shown, _ in seen]
    assert quick == pytest.approx([patient.see(now, shown) for now, shown, _ in slow])


def test_nothing_is_told_before_the_third_step():
    clock = TimeLeft()
    ahead = lambda left: (Scale((64, 64), left),)
    assert clock.see(1.0, progress(1, ahead(9))) is None
    assert clock.see(2.0, progress(2, ahead(8))) is None
    assert clock.see(3.0, progress(3, ahead(7))) == pytest.approx(7.0)


def test_a_machine_that_slows_down_is_followed():
    clock, ahead = TimeLeft(), lambda left: (Scale((64, 64), left),)
    times = np.cumsum([*[1.0] * 50, *[3.0] * 20])
    told = [clock.see(now, progress(step, ahead(100 - step))) for step, now in enumerate(times, 1)]
    assert told[49] == pytest.approx(50.0) and told[-1] == pytest.approx(90.0)


def test_a_lane_that_begins_anew_is_told_by_the_one_before():
    clock, scales = TimeLeft(), [Scale((64, 64), 10), Scale((128, 128), 10)]
    for now, shown, _ in followed(scales, (1.0, 4.0)):
        clock.see(now, shown)
    again = followed(scales, (1.0, 4.0), started=1000.0, compiling=0.0)
    told = [(clock.see(now, shown), rest) for now, shown, rest in again]
    for left, rest in told[1:]:
        assert left == pytest.approx(rest)
    assert clock.rates == pytest.approx({(64, 64): 1 / 64**2, (128, 128): 4 / 128**2})
    assert seconds_for(tuple(scales), clock.rates, 1.0) == pytest.approx(50.0)


@pytest.mark.slow
def test_what_is_ahead_is_what_will_be_done(vgg16_params, rng, monkeypatch):
    """From size to size, and where the tolerance ends one."""
    from nst_jax.descent import schedule

    monkeypatch.setattr(schedule, "_LEAST_FINEST", 32)
    monkeypatch.setattr(schedule, "_SHARE", 1 / 2)
    config = nst.TransferConfig(
        ("conv1_1",), ("conv1_1",), num_steps=60, tolerance=0.5, optimizer="sgd"
    )
    content, style = rng.random((32, 40, 3)), rng.random((32, 32, 3))
    seen = [
        (chunk.progress.step, chunk.progress.num_steps, chunk.progress.done, chunk.progress.ahead)
        for chunk in nst.descend(vgg16_params, content, style, config)
    ]
    for step, num_steps, done, ahead in seen:
        assert num_steps == step + sum(scale.num_steps for scale in ahead) and 0 < done <= 1
    changes = [ahead for *_, ahead in seen if len(ahead) == 2 and not ahead[0].num_steps]
    assert changes == [(Scale((16, 20), 0), Scale((32, 40), 30))]
    step, num_steps, done, ahead = seen[-1]
    assert step == num_steps < 60 and done == 1 and ahead == (Scale((32, 40), 0),)
