"""What published teachers take, told without a download, is told of the published networks."""

import json

import pytest

pytest.importorskip("torch")

from pocketcrafter.export.teachers.cost import cost_of
from pocketcrafter.export.teachers.published import PUBLISHED, labelling, published_layout
from pocketcrafter.export.teachers.systems import RELEASED, SystemName
from pocketcrafter.export.teachers.tensors import fingerprint
from pocketcrafter.runtime import cli


def test_shapes_are_those_of_the_published_networks() -> None:
    known = {
        found.place.name: RELEASED.get(fingerprint(found.shapes))
        for found in published_layout(SystemName.SMART_PHOTO_CRAFTER).networks
    }
    assert known == {
        "vlm": "Qwen2.5-VL 7B",
        "dit": "Qwen-Image's transformer (20.4 B parameters)",
        "vae": "Qwen-Image's autoencoder (126.9 M parameters)",
    }


def test_a_million_photos_are_a_million_times_one() -> None:
    layout = published_layout(SystemName.SMART_PHOTO_CRAFTER)
    cost = cost_of(layout)
    few, many = (labelling(layout, cost, count, 64, {"H200": 2.0}) for count in (1, 1_000_000))
    assert few.positions == 256 + (1024 // 28) ** 2 + 1280
    assert few.hidden_bytes == few.positions * 3584 * 2
    assert many.total_bytes == pytest.approx(1e6 * (few.hidden_bytes + few.picture_bytes + few.text_bytes))
    assert many.total_int8_bytes < 0.6 * many.total_bytes
    assert many.hours["H200"] == pytest.approx(1e6 * cost.seconds["H200"] / 3600 / 64)
    assert many.cost == {"H200": pytest.approx(2.0 * 64 * many.hours["H200"])}


def test_the_command_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert {name.value for name in PUBLISHED} == {"smart-photo-crafter", "aesformer"}
    asked = ["teacher", "cost", "smart-photo-crafter", "--count", "1000", "--gpus", "2", "--json"]
    assert cli.run([*asked, "--price", "H200", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["labelling"]["photos"] == 1000
    assert told["labelling"]["cost"].keys() == {"H200"}
    assert cli.run([*asked, "--price", "toaster", "3"]) == 2
