"""Corrects how pydicom decodes two character sets of PS3.3 C.12.1.1.2."""

from typing import Final

from pydicom import charset

_LATIN_9: Final = "iso8859_15"
_TO_LATIN_9: Final = b"\x1b-b"


def correct() -> None:
    """Have pydicom know Latin-9 (ISO_IR 203), and take escape sequences out of Chinese names.

    It leaves those of ISO 2022 IR 58 to Python, whose GB2312 has none.
    """
    charset.python_encoding.update({"ISO_IR 203": _LATIN_9, "ISO 2022 IR 203": _LATIN_9})
    charset.CODES_TO_ENCODINGS[_TO_LATIN_9] = _LATIN_9
    charset.ENCODINGS_TO_CODES[_LATIN_9] = _TO_LATIN_9
    charset.handled_encodings = (  # type: ignore[assignment]  # pydicom fixes their number
        "iso2022_jp",
        "iso2022_jp_2",
    )
