"""Contact sheets: PNG pages of crop previews with names and doubts, for printing and for use without a browser."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from textwrap import wrap

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from cov3d.files import replacing
from cov3d.preprocessing.preview import BOX_COLOUR, LUNG_COLOUR, MARKS, SIZE
from cov3d.reports.crop_cases import Case, UnprocessedScan

COLUMNS, ROWS = 4, 12
"""Number of previews across and down a page, which then has the proportions of a sheet of paper."""

_MARGIN, _HEAD, _LINE, _BETWEEN = 16, 44, 17, 10
_LINES = 3
"""Number of lines of text below a picture: the name and two lines of doubts."""

_TILE = (SIZE[0] + _BETWEEN, SIZE[1] + _LINES * _LINE + _BETWEEN)
_CHARACTERS = SIZE[0] // 8
_PAPER, _INK, _NO_PICTURE = "#ffffff", "#000000", "#e8e8e8"
_NAME = re.compile(r"crops-\d+\.png")


def write_sheets(
    folder: Path,
    title: str,
    cases: Sequence[Case],
    missing: Sequence[UnprocessedScan],
    pictures: Mapping[str, bytes],
) -> list[Path]:
    """Write `crops-1.png`, `crops-2.png`, … to `folder`.

    Args:
        folder: where to write.
        title: at the top of each page.
        cases: scans with a crop, in the order shown.
        missing: scans without a crop; they come first.
        pictures: the available previews (WebP), by scan.

    Raises:
        OutputError: the folder can't be written.
    """
    shown: list[Case | UnprocessedScan] = [*missing, *cases]
    per_page = COLUMNS * ROWS
    pages = max(1, -(-len(shown) // per_page))
    written = []
    for number in range(1, pages + 1):
        file = folder / f"crops-{number}.png"
        page = _page(f"{title}: page {number} of {pages}", shown[(number - 1) * per_page : number * per_page], pictures)
        with replacing(file) as aside:
            page.save(aside, format="PNG")
        written.append(file)
    return written


def sheets_in(folder: Path) -> list[Path]:
    """The contact sheets of an earlier report in a folder."""
    return [file for file in folder.glob("crops-*.png") if _NAME.fullmatch(file.name)]


def _page(title: str, shown: Sequence[Case | UnprocessedScan], pictures: Mapping[str, bytes]) -> Image.Image:
    rows = max(1, -(-len(shown) // COLUMNS))
    size = (2 * _MARGIN + COLUMNS * _TILE[0] - _BETWEEN, _MARGIN + _HEAD + rows * _TILE[1])
    page = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN), title, _INK, _font(18, bold=True))
    legend = "orange: crop box, blue: lungs; R, L: the patient's right and left, A, P: front, back, H, F: head, feet"
    draw.text((page.width - _MARGIN, _MARGIN + 3), legend, _INK, _font(13), anchor="ra")
    for index, item in enumerate(shown):
        corner = (_MARGIN + index % COLUMNS * _TILE[0], _MARGIN + _HEAD + index // COLUMNS * _TILE[1])
        _tile(page, draw, corner, item, pictures)
    return page.quantize(palette=_palette(), dither=Image.Dither.NONE)


def _tile(
    page: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    item: Case | UnprocessedScan,
    pictures: Mapping[str, bytes],
) -> None:
    left, top = corner
    picture = _opened(pictures.get(item.scan))
    if picture is None:
        draw.rectangle((left, top, left + SIZE[0] - 1, top + SIZE[1] - 1), fill=_NO_PICTURE)
        reason = "no picture" if isinstance(item, Case) else "not preprocessed"
        draw.text((left + SIZE[0] // 2, top + SIZE[1] // 2), reason, _INK, _font(13), anchor="mm")
    else:
        page.paste(picture, corner)
        for letter, x, y in MARKS:
            draw.text((left + x, top + y), letter, _PAPER, _font(11, bold=True), "mm", stroke_width=1, stroke_fill=_INK)
    draw.text((left, top + SIZE[1] + 2), _end(item.scan, _CHARACTERS), _INK, _font(13, bold=True))
    for line, text in enumerate(_lines(item.why, _CHARACTERS, _LINES - 1), start=1):
        draw.text((left, top + SIZE[1] + 2 + line * _LINE), text, _INK, _font(13))


def _opened(picture: bytes | None) -> Image.Image | None:
    """The picture; None if there is none or it is damaged, so that one bad file does not stop the report."""
    if picture is None:
        return None
    try:
        opened = Image.open(io.BytesIO(picture))
        opened.load()
    except (OSError, ValueError):
        return None
    return opened


def _end(text: str, most: int) -> str:
    """Shorten a long name to its end, which has the scan's number."""
    return text if len(text) <= most else "…" + text[1 - most :]


def _lines(text: str, width: int, most: int) -> Iterator[str]:
    lines = wrap(text, width)
    yield from lines[: most - 1]
    if len(lines) >= most:
        yield lines[most - 1] if len(lines) == most else lines[most - 1][: width - 1] + "…"


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    # matplotlib includes a font for most alphabets; a server may have no fonts.
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return ImageFont.truetype(str(file), size)


@cache
def _palette() -> Image.Image:
    """112 greys, and the colours of box and lungs in nine strengths on eight greys. Files are a third of RGB's size."""
    colours = [(grey, grey, grey) for grey in (round(index * 255 / 111) for index in range(112))]
    for colour in (BOX_COLOUR, LUNG_COLOUR):
        for grey in (0, 36, 72, 108, 144, 180, 215, 255):
            for strength in range(1, 10):
                red, green, blue = (round(grey + (part - grey) * strength / 9) for part in colour)
                colours.append((red, green, blue))
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in colours for part in colour])
    return palette
