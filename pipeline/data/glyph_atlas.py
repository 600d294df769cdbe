"""Every character in every font, drawn once: the stock that `glyph_drawing` poses, colours and clutters."""

from __future__ import annotations

import string
from pathlib import Path

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont

CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)
"""matplotlib's text fonts. Its others are symbols, lack letters, or (cmmi10) draw 0 like o."""
CAP_HEIGHT = 0.56
"""Height of an H as a share of its cell: the widest W and the deepest g then just fit."""


def draw_atlas(cell: int) -> torch.Tensor:
    """Coverage 0..1 as float32 (fonts, characters, cell, cell); capitals have one height in all fonts.

    Characters are centred on their own width and on half the height of a capital, so that they keep their baseline.
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    sheet = Image.new("L", (cell * len(CHARACTERS), cell * len(FONTS)))
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(FONTS):
        path = folder / f"{name}.ttf"
        _, top, _, _ = ImageFont.truetype(path, 1000).getbbox("H", anchor="ls")
        font = ImageFont.truetype(path, CAP_HEIGHT * cell * 1000 / -top)
        for column, character in enumerate(CHARACTERS):
            left, _, right, _ = font.getbbox(character, anchor="ls")
            x = (column + 0.5) * cell - (left + right) / 2
            draw.text((x, (row + 0.5 + CAP_HEIGHT / 2) * cell), character, font=font, fill=255, anchor="ls")
    pixels = torch.frombuffer(bytearray(sheet.tobytes()), dtype=torch.uint8)
    grid = pixels.view(len(FONTS), cell, len(CHARACTERS), cell).transpose(1, 2)
    return grid.float().div_(255).contiguous()
