"""Where a page of transitions ends, as text that means nothing to others."""

_LAST_ROW = 2**63 - 1


def cursor_at(seq: int) -> str:
    """The cursor that goes on after row ``seq``: hexadecimal, so that it can be said what one looks like."""
    return f"before {seq}".encode().hex()


def row_at(cursor: str) -> int:
    """The number of the row that ``cursor`` goes on after; ValueError if `cursor_at` never made it."""
    seq = _number_in(cursor)
    if seq is None or not 0 < seq <= _LAST_ROW or cursor_at(seq) != cursor:
        raise ValueError("cursor: a next_cursor of an earlier page is allowed")
    return seq


def _number_in(cursor: str) -> int | None:
    try:
        return int(bytes.fromhex(cursor).decode().removeprefix("before "))
    except ValueError:
        return None
