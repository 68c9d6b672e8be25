"""Bring HDR colours (PQ and HLG, BT.2020) into what screens without HDR show."""

import numpy as np

PQ, HLG = 16, 18
"""FFmpeg's numbers of the two transfer curves."""

_WHITE_NITS = 100.0
_PEAK_NITS = 1000.0
# Below the knee, light stays as it is; above, up to the peak is pressed into what is left.
_KNEE = 0.6
_MAX_LEVEL = 65535
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)


def map_to_sdr(rgb: np.ndarray, transfer: int) -> np.ndarray:
    """Map a uint8 picture of shape (height, width, 3), coded in BT.2020 with `PQ` or `HLG`, to BT.709."""
    levels = np.take(_LEVELS[transfer], rgb) @ _BT2020_TO_BT709.T
    return np.take(_CODES, np.clip(levels, 0, _MAX_LEVEL, out=levels).astype(np.uint16))


def _pq_light(codes: np.ndarray) -> np.ndarray:
    """Undo SMPTE ST 2084; 1 is white."""
    powers = codes ** (32 / 2523)
    fraction = np.maximum(powers - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * powers)
    return 10_000 / _WHITE_NITS * fraction ** (16384 / 2610)


def _hlg_light(codes: np.ndarray) -> np.ndarray:
    """Undo ARIB STD-B67 and show it at 1000 nits, as ITU-R BT.2100 says; 1 is white."""
    scene = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return _PEAK_NITS / _WHITE_NITS * scene**1.2


def _codes_of_light() -> np.ndarray:
    peak = _PEAK_NITS / _WHITE_NITS
    light = np.linspace(0, peak, _MAX_LEVEL + 1)
    # A hyperbola that leaves the line at the knee with its slope and reaches 1 at the peak.
    room, above = 1 - _KNEE, np.maximum(light - _KNEE, 0)
    bend = 1 / room - 1 / (peak - _KNEE)
    shown = np.where(light < _KNEE, light, _KNEE + above / (1 + bend * above))
    return np.round(255 * shown ** (1 / 2.4)).astype(np.uint8)


_CODES = _codes_of_light()
_LEVELS = {
    transfer: (undo(np.linspace(0, 1, 256)) * _MAX_LEVEL * _WHITE_NITS / _PEAK_NITS).astype(np.float32)
    for transfer, undo in ((PQ, _pq_light), (HLG, _hlg_light))
}
