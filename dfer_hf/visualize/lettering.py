"""Words on pictures."""

import cv2

FONT = cv2.FONT_HERSHEY_DUPLEX
_AS_ASCII = str.maketrans({"Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


def drawable(text: str) -> str:
    """What OpenCV can draw of a text: before its version 5, which has real fonts, no umlauts."""
    return text if hasattr(cv2, "FontFace") else text.translate(_AS_ASCII)
