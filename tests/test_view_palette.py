"""Ten states are distinct, also for colour-blind readers: the least CIEDE2000 distance of any two of their colours.

Colour blindness is simulated with the matrices of Machado, Oliveira, Fernandes, "A Physiologically-based Model for
Simulation of Color Vision Deficiency" (2009), severity 1.0, on linear RGB.
"""

import numpy as np
import pytest

from ncagen.view.palette import TOL_MUTED, palette

SEEN_BY = {
    "everybody": np.eye(3),
    "protanopes": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopes": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopes": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lab(colours: list, seen: np.ndarray) -> np.ndarray:
    """CIELAB under D65 of sRGB colours (0 to 255), as a reader sees them: float[colour, 3]. seen: float[3, 3]."""
    values = np.array(colours) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = np.clip(linear @ seen.T, 0, 1) @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """The distance of two colours in CIELAB."""
    (light1, a1, b1), (light2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25**7)))
    chroma1, chroma2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    hue1, hue2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (hue2 - hue1 + 180) % 360 - 180 if chroma1 * chroma2 else 0
    hue_difference = 2 * np.sqrt(chroma1 * chroma2) * np.sin(np.radians(turn / 2))
    light, chroma, hue = (light1 + light2) / 2, (chroma1 + chroma2) / 2, hue1 + turn / 2
    weight = 1 - 0.17 * np.cos(np.radians(hue - 30)) + 0.24 * np.cos(np.radians(2 * hue))
    weight += 0.32 * np.cos(np.radians(3 * hue + 6)) - 0.2 * np.cos(np.radians(4 * hue - 63))
    lights = (light2 - light1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    chromas = (chroma2 - chroma1) / (1 + 0.045 * chroma)
    hues = hue_difference / (1 + 0.015 * chroma * weight)
    bend = 30 * np.exp(-(((hue % 360 - 275) / 25) ** 2))
    rotation = -np.sin(np.radians(2 * bend)) * 2 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    return float(np.sqrt(lights**2 + chromas**2 + hues**2 + rotation * chromas * hues))


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [  # from the test data of Sharma, Wu, Dalal, "The CIEDE2000 Color-Difference Formula" (2005)
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (61, -5, 29), 22.8977),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ],
)
def test_the_distance_is_ciede2000(one, other, distance):
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(distance, abs=1e-4)


@pytest.mark.parametrize(
    ("reader", "least"), [("everybody", 15.0), ("protanopes", 11.7), ("deuteranopes", 14.2), ("tritanopes", 11.4)]
)
def test_ten_states_are_distinct(reader, least):
    """A distance of 1 is just visible, 10 is visible at a glance."""
    seen = lab(palette(10), SEEN_BY[reader])
    assert min(ciede2000(a, b) for i, a in enumerate(seen) for b in seen[:i]) >= least


def test_fewer_states_have_the_first_colours_and_more_have_as_many_as_states():
    assert palette(10)[0] == (0x33, 0x22, 0x88)
    assert palette(3) == palette(10)[:3]
    assert len(TOL_MUTED) == len(set(palette(10))) == 10
    for states in (11, 16, 100, 256):
        assert len(palette(states)) == states and len(set(palette(states))) > states * 0.9
