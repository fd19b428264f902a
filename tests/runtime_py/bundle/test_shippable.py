"""Packages that stores and phones refuse are told apart from those that they take."""

import json
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketcrafter.runtime.bundle.archive import pack
from pocketcrafter.runtime.bundle.manifest import TargetEntry, parse_manifest
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.cli.group import root
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.shippable.android_manifest import read_manifest
from pocketcrafter.runtime.shippable.report import look_through
from pocketcrafter.runtime.targets import TARGETS, TargetKind

SIGNED = b"a certificate of CN=Some Team\0APK Sig Block 42"
DEBUG = b"a certificate of CN=Android Debug\0APK Sig Block 42"
QNN = "v2.49.40.260810104044"


def library(machine: int = 183, alignment: int = 16384, text: str = "") -> bytes:
    """A 64-bit ELF library's header with two segments, the first of which is loaded."""
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    loaded = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0, 0, alignment)
    noted = struct.pack("<IIQQQQQQ", 4, 4, 0, 0, 0, 0, 0, 4)
    return head + loaded + noted + text.encode()


def context(number: int, build: str = QNN) -> bytes:
    """A context binary's header, as QNN 2.49 writes it, for a chip by QNN's number."""
    head = struct.pack(">IIII", 2, 3, 0, 1) + struct.pack("<IIQ", 1000, 0, 4096)
    return (head + bytes(188 - len(head)) + struct.pack("<I", number)).ljust(400, b"\0") + build.encode()


def manifest(minimum: int | None = 26, **application: str) -> bytes:
    """A manifest in Android's binary XML."""
    names = [
        "manifest",
        "uses-sdk",
        "application",
        "minSdkVersion",
        *application,
        *application.values(),
        "uses-feature",
    ]
    strings = list(dict.fromkeys(names))
    numbers = {"minSdkVersion": 0x0101020C, "debuggable": 0x0101000F, "extractNativeLibs": 0x010104EA}
    encoded = [struct.pack("<H", len(s)) + s.encode("utf-16-le") + b"\0\0" for s in strings]
    offsets = [sum(map(len, encoded[:n])) for n in range(len(encoded))]
    start = 28 + 4 * len(strings)
    pool = struct.pack(f"<IIIII{len(strings)}I", len(strings), 0, 0, start, 0, *offsets) + b"".join(encoded)
    ids = struct.pack(f"<{len(strings)}I", *(numbers.get(s, 0) for s in strings))

    def chunk(kind: int, header: int, content: bytes) -> bytes:
        return struct.pack("<HHI", kind, header, 8 + len(content)) + content

    def element(name: str, attributes: list[tuple[str, int, int]]) -> bytes:
        rows = b"".join(
            struct.pack("<iIiHBBI", -1, strings.index(key), -1, 8, 0, kind, data) for key, kind, data in attributes
        )
        body = struct.pack("<IiiIHHHHHH", 1, -1, -1, strings.index(name), 20, 20, len(attributes), 0, 0, 0)
        return chunk(0x0102, 16, body + rows)

    sdk = [] if minimum is None else [("minSdkVersion", 0x10, minimum)]
    flags = [(key, 0x12, 0xFFFFFFFF if value == "true" else 0) for key, value in application.items()]
    body = chunk(0x0001, 28, pool) + chunk(0x0180, 8, ids)
    body += element("manifest", []) + element("uses-sdk", sdk) + element("application", flags)
    return struct.pack("<HHI", 3, 8, 8 + len(body)) + body


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def protobuf_manifest(minimum: str) -> bytes:
    """A manifest as an AAB has it."""
    attribute = field(4, field(2, b"minSdkVersion") + field(3, minimum.encode()))
    sdk = field(5, field(1, field(3, b"uses-sdk") + attribute))
    return field(1, field(3, b"manifest") + sdk)


@pytest.fixture
def apk(tmp_path: Path, bundle_dir: Path) -> Callable[..., Path]:
    """Write an APK: sound, but for what a test puts in its place; a file that is `None` is left out."""

    def write(changes: Mapping[str, bytes | None] | None = None, signature: bytes = SIGNED, offset: int = 0) -> Path:
        packed = tmp_path / "packed.pcbundle"
        pack(bundle_dir, packed)
        files: dict[str, bytes | None] = {
            "AndroidManifest.xml": manifest(),
            "classes.dex": b"dex\n035",
            "lib/arm64-v8a/libonnxruntime.so": library(),
            "assets/default.pcbundle": packed.read_bytes(),
        }
        path = tmp_path / "app.apk"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (files | dict(changes or {})).items():
                if content is None:
                    continue
                info = zipfile.ZipInfo(name)
                if name.endswith(".so"):
                    info.extra = struct.pack("<HH", 0xD935, 0)
                    place = archive.start_dir + 30 + len(name) + 4
                    info.extra = struct.pack("<HH", 0xD935, (-place + offset) % 16384) + bytes(
                        (-place + offset) % 16384
                    )
                archive.writestr(info, content)
        path.write_bytes(signature + path.read_bytes())
        # What stands before an archive moves its entries; as many bytes as a page leave them where they were.
        content = path.read_bytes()
        path.write_bytes(signature.ljust(16384, b"\0") + content[len(signature) :])
        return path

    return write


def rules(path: Path) -> dict[str, str]:
    return {finding.rule.value: finding.message for finding in look_through(path).findings}


def with_target(bundle: Path, kind: str, content: bytes) -> None:
    """Give a bundle one target in the place of its own."""
    read = parse_manifest((bundle / "manifest.json").read_bytes(), "manifest")
    row = TARGETS[TargetKind(kind)]
    (bundle / "targets/onnx/restore.onnx").write_bytes(content)
    component = read.components[0]
    artifact = next(iter(component.artifacts.values()))
    changed = component.model_copy(update={"artifacts": {kind: artifact}})
    target = TargetEntry(kind=row.kind, backend=row.backend, soc=row.soc_names)
    reseal(bundle, read.model_copy(update={"components": (changed,), "targets": {kind: target}}))


def test_a_sound_apk_raises_no_alarm(apk: Callable[..., Path]) -> None:
    report = look_through(apk())
    assert report.findings == ()
    sizes = {part.name: part.size for part in report.parts}
    assert sizes["libraries of arm64-v8a"] == len(library())
    assert any(name.endswith("targets/onnx/restore.onnx") for name in sizes)


@pytest.mark.parametrize(
    ("changes", "rule", "says"),
    [
        ({"lib/arm64-v8a/libonnxruntime.so": library(alignment=4096)}, "page-size", "max-page-size"),
        ({"lib/arm64-v8a/libonnxruntime.so": library(machine=62)}, "abi-set", "ELF machine 62"),
        ({"lib/arm64-v8a/libonnxruntime.so": b"MZ"}, "page-size", "not a little-endian ELF"),
        ({"lib/x86_64/libother.so": library(machine=62)}, "abi-set", "only in other ABIs"),
        ({"lib/arm64-v8a/libonnxruntime.so": None, "lib/x86_64/a.so": library(62)}, "abi-set", "arm64-v8a is missing"),
        ({"AndroidManifest.xml": manifest(minimum=21)}, "minimum-os", "API 24, and minSdkVersion is 21"),
        ({"AndroidManifest.xml": manifest(minimum=None)}, "minimum-os", "no minSdkVersion"),
        ({"AndroidManifest.xml": manifest(debuggable="true")}, "debuggable", "debuggable is true"),
        ({"AndroidManifest.xml": b"\x03\x00\x08\x00broken"}, "library-storage", "not an Android manifest"),
        ({"AndroidManifest.xml": None}, "manifest", "has no AndroidManifest.xml"),
        ({"assets/default.pcbundle": None}, "bundle", "no bundle"),
        ({"assets/default.pcbundle": b"PK nothing"}, "bundle", "neither a bundle"),
    ],
)
def test_a_fault_is_named(apk: Callable[..., Path], changes: Mapping[str, bytes | None], rule: str, says: str) -> None:
    found = rules(apk(changes))
    assert says in found[rule]


def test_a_library_off_its_page_is_found(apk: Callable[..., Path]) -> None:
    assert "zipalign -P 16" in rules(apk(offset=4096))["page-size"]


@pytest.mark.parametrize(("signature", "says"), [(DEBUG, "debug key"), (b"nothing", "not signed")])
def test_no_store_takes_it(apk: Callable[..., Path], signature: bytes, says: str) -> None:
    found = rules(apk(signature=signature))
    assert list(found) == ["signature"]
    assert says in found["signature"]


def test_a_bundle_that_was_changed_is_found(apk: Callable[..., Path], bundle_dir: Path) -> None:
    artifact = bundle_dir / "targets/onnx/restore.onnx"
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"\0")
    assert "restore.onnx" in rules(apk())["bundle"]


HTP = {f"lib/arm64-v8a/libQnnHtp{name}.so": library(text=QNN) for name in ("", "V79Stub")} | {
    "lib/arm64-v8a/libQnnHtpV79Skel.so": library(machine=164, text=QNN)
}


def test_a_bundle_for_one_chip_alone_needs_another(apk: Callable[..., Path], bundle_dir: Path) -> None:
    with_target(bundle_dir, "qnn-context:sm8750", context(69))
    assert rules(apk(HTP)).keys() == {"fallback"}


def test_contexts_and_libraries_must_fit(apk: Callable[..., Path], bundle_dir: Path) -> None:
    with_target(bundle_dir, "qnn-context:sm8750", context(57))
    found = rules(apk(HTP))
    assert "for SM8650, and its target for SM8750" in found["soc"]
    with_target(bundle_dir, "qnn-context:sm8750", context(69, "v2.51.0.260810104044"))
    assert "made with QNN 2.51.0, and the app brings 2.49.40" in rules(apk(HTP))["qnn-version"]
    with_target(bundle_dir, "qnn-context:sm8750", context(69))
    mixed = HTP | {"lib/arm64-v8a/libQnnHtpV79Stub.so": library(text="v2.45.1.260810104044")}
    assert "several builds" in rules(apk(mixed))["qnn-version"]
    without = {name: content for name, content in HTP.items() if "Skel" not in name}
    assert "libQnnHtpV79Skel.so are not there" in rules(apk(without))["qnn-libraries"]


def test_a_context_for_several_chips_must_hold_each_of_them(apk: Callable[..., Path], bundle_dir: Path) -> None:
    with_target(bundle_dir, "qnn-context:multi", context(57) + context(69) + context(87))
    assert "soc" not in rules(apk(HTP))
    with_target(bundle_dir, "qnn-context:multi", context(57) + context(69))
    assert "for SM8650, SM8750, and its target for SM8650, SM8750, SM8850" in rules(apk(HTP))["soc"]


def test_weights_that_phones_of_little_memory_cannot_hold_keep_them_out(
    tmp_path: Path, bundle_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights in a file beside an artifact count too."""
    manifest_xml, app = tmp_path / "app/AndroidManifest.xml", tmp_path / "app"
    text = (
        '<manifest xmlns:android="http://schemas.android.com/apk/res/android"><uses-sdk android:minSdkVersion="26" />{}'
        "<application /></manifest>"
    )
    shutil.copytree(bundle_dir, app / "default.pcbundle")
    manifest_xml.write_text(text.format(""))
    artifact = app / "default.pcbundle/targets/onnx/restore.onnx"
    monkeypatch.setattr("pocketcrafter.runtime.shippable.rules._LOW_RAM_LIMIT", artifact.stat().st_size)
    assert "memory" not in rules(app)
    artifact.with_suffix(".data").write_bytes(b"1")
    reseal(artifact.parents[2], parse_manifest((artifact.parents[2] / "manifest.json").read_bytes(), "manifest"))
    assert "its networks for onnx weigh" in rules(app)["memory"]
    manifest_xml.write_text(text.format('<uses-feature android:name="android.hardware.ram.normal" />'))
    assert "memory" not in rules(app)


def test_a_skel_must_become_a_file(apk: Callable[..., Path], bundle_dir: Path) -> None:
    with_target(bundle_dir, "qnn-context:sm8750", context(69))
    changes = HTP | {"AndroidManifest.xml": manifest(extractNativeLibs="false")}
    assert "ADSP_LIBRARY_PATH" in rules(apk(changes))["library-storage"]


def test_folders_and_app_bundles_are_looked_through(tmp_path: Path, bundle_dir: Path) -> None:
    folder = tmp_path / "app"
    (folder / "src/main/jniLibs/arm64-v8a").mkdir(parents=True)
    (folder / "src/main/jniLibs/arm64-v8a/libengine.so").write_bytes(library(alignment=4096))
    sdk = '<uses-sdk android:minSdkVersion="21"/>'
    xml = f'<manifest xmlns:android="http://schemas.android.com/apk/res/android">{sdk}</manifest>'
    (folder / "src/main/AndroidManifest.xml").write_text(xml)
    bundle_dir.rename(folder / "tiny")
    assert rules(folder).keys() == {"page-size", "minimum-os"}

    aab = tmp_path / "app.aab"
    with zipfile.ZipFile(aab, "w") as archive:
        archive.writestr("base/manifest/AndroidManifest.xml", protobuf_manifest("21"))
        archive.writestr("base/lib/arm64-v8a/libengine.so", library())
        pack(folder / "tiny", tmp_path / "tiny.zip")
        archive.write(tmp_path / "tiny.zip", "pack/assets/tiny.pcbundle")
    assert rules(aab).keys() == {"minimum-os", "signature"}


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    for name, content in (("app.apk", b"nothing"), ("app.zip", b"PK")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=name):
            look_through(tmp_path / name)


def test_a_package_that_unpacks_outside_of_itself_is_refused(apk: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"\.\./\.\./evil\.so would be unpacked outside"):
        look_through(apk({"../../evil.so": library()}))


def test_only_the_head_of_a_library_is_read(apk: Callable[..., Path]) -> None:
    large = library() + bytes(64 << 20)
    tracemalloc.start()
    report = look_through(apk({"lib/arm64-v8a/libonnxruntime.so": library()}))
    small = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    path = apk({"lib/arm64-v8a/libonnxruntime.so": large})
    tracemalloc.start()
    assert look_through(path).findings == report.findings == ()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - small < 8 << 20


def test_spoiled_manifests_are_refused_and_never_crash() -> None:
    refused = 0
    for sound in (manifest(debuggable="true"), protobuf_manifest("26"), b"<manifest/>"):
        assert read_manifest(sound, "m")
        for cut in range(len(sound)):
            for spoiled in (sound[:cut], sound[:cut] + b"\xff" + sound[cut + 1 :]):
                try:
                    read_manifest(spoiled, "m")
                except ConfigError:
                    refused += 1
    assert refused > 100


def test_the_command_tells_and_allows(apk: Callable[..., Path]) -> None:
    path = str(apk(signature=DEBUG))
    done = CliRunner().invoke(root, ["shippable", path, "--json"])
    assert done.exit_code == 1
    assert [finding["rule"] for finding in json.loads(done.output)["findings"]] == ["signature"]
    assert CliRunner().invoke(root, ["shippable", path, "--allow", "signature"]).exit_code == 0
    assert "no rule luck" in CliRunner().invoke(root, ["shippable", path, "--allow", "luck"]).output
