"""What is required is compared with what is installed."""

from pathlib import Path

from packaging.requirements import Requirement

from pocketcrafter.runtime.requirements import required, unmet


def test_missing_packages_and_other_versions_are_told_apart(tmp_path: Path) -> None:
    for name, version in (("older", "1.0.0b1"), ("fits", "2.13.0+cpu")):
        about = tmp_path / f"{name}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    wanted = [Requirement(text) for text in ("older>=1.0.0b3,<2", "fits==2.13.*", "not_here")]
    assert unmet(wanted, [str(tmp_path)]) == {"older<2,>=1.0.0b3": "1.0.0b1", "not-here": None}


def test_an_extra_requires_what_it_lists_and_not_what_others_do() -> None:
    assert {requirement.name for requirement in required("qnn")} == {"onnxruntime-qnn"}
    assert {"click", "onnxruntime"} <= {requirement.name for requirement in required(None)}
    assert not {requirement.name for requirement in required(None)} & {"torch", "pocketcrafter"}
