"""Contact sheets name photos in letters that their font has."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.sheet import pair_of, write_sheet


@pytest.mark.parametrize(("name", "drawn"), [("Jyväskylä.jpg", "Jyvaskyla.jpg"), ("雪.jpg", "?.jpg")])
def test_a_name_is_drawn_without_the_letters_that_the_font_lacks(name: str, drawn: str, tmp_path: Path) -> None:
    photo = Photo(pixels=np.full((60, 80, 3), 90, np.uint8))
    sheets = []
    for number, shown in enumerate((name, drawn)):
        (page,) = write_sheet([pair_of(photo, photo, "as it is", shown)], tmp_path / f"{number}.png")
        with Image.open(page) as sheet:
            sheets.append(np.asarray(sheet.convert("RGB")))
    assert np.array_equal(*sheets)
