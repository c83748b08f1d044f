import pytest

from nst_jax.cli.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-1, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (305, "5 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (7170, "2 h 00 min"),
        (97200, "27 h 00 min"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text
