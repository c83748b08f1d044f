"""Times in words."""


def duration(seconds: float) -> str:
    """A time as somebody says it: `42 s`, `5 min 05 s`, `1 h 05 min`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"
