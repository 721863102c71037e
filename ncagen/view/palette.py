"""Assigns a colour to each state, the same in the terminal, in pictures and on the page.

Colour-blind readers can distinguish up to ten states; `tests/test_view_palette.py` measures the distances. Above ten no
palette achieves this, and hues are spread evenly.
"""

import colorsys

Colour = tuple[int, int, int]

# Paul Tol's muted scheme, in an order in which neighbouring states differ in lightness.
TOL_MUTED = ("332288", "88CCEE", "44AA99", "117733", "999933", "DDCC77", "CC6677", "882255", "AA4499", "DDDDDD")


def palette(states: int) -> list[Colour]:
    """Returns a colour (red, green, blue, each 0 to 255) for each state."""
    if states <= len(TOL_MUTED):
        return [(int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in TOL_MUTED[:states]]
    spread = (colorsys.hls_to_rgb(s * 0.61803399 % 1, 0.3 + 0.4 * (s % 3) / 2, 0.8) for s in range(states))
    return [(round(r * 255), round(g * 255), round(b * 255)) for r, g, b in spread]
