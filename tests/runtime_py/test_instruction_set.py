"""The instruction set, from what Linux and macOS say of processors."""

from pathlib import Path

import pytest

from pocketcrafter.runtime import instruction_set as module
from pocketcrafter.runtime.backends.onnxruntime import saturates
from pocketcrafter.runtime.instruction_set import InstructionSet, instruction_set

_LINUX = {
    "flags\t\t: fpu sse2 ssse3 avx avx2 fma": InstructionSet.AVX2,
    "flags\t\t: fpu sse2 avx2 avx512f avx512bw": InstructionSet.AVX512,
    "flags\t\t: fpu sse2 avx2 avx512f avx512bw avx512_vnni avx_vnni": InstructionSet.AVX512_VNNI,
    "flags\t\t: fpu sse2 avx2 avx_vnni": InstructionSet.AVX_VNNI,
    "flags\t\t: sse2 avx2 avx512bw avx512_vnni amx_bf16 amx_tile amx_int8": InstructionSet.AMX,
    "Features\t: fp asimd evtstrm aes": InstructionSet.NEON,
    "Features\t: fp asimd asimdhp asimddp": InstructionSet.NEON_DOTPROD,
    "Features\t: fp asimd asimddp sve i8mm": InstructionSet.NEON_I8MM,
    "model name\t: Something": InstructionSet.UNKNOWN,
}


@pytest.mark.parametrize("line", _LINUX)
def test_linux(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: One\n{line}\nbugs\t\t: none\n\nprocessor\t: 1\n")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
    assert instruction_set() is _LINUX[line]
    (tmp_path / "cpuinfo").unlink()
    assert instruction_set() is InstructionSet.UNKNOWN


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("hw.optional.AdvSIMD: 1\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 0", "NEON dotprod"),
        ("hw.optional.avx2_0: 1\nhw.optional.avx512bw: 0", "AVX2"),
        ("", "unknown"),
    ],
)
def test_macos(told: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sysctl` prints those features that it knows, and complains of the others."""
    script = tmp_path / "sysctl"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{told}\nEND\necho unknown oid >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(module, "_SYSCTL", str(script))
    assert instruction_set() == expected


def test_what_saturates_here_is_told_by_the_instruction_set() -> None:
    """Where VNNI is, or on ARM, nothing saturates; where AVX2 is and it is not, something does."""
    assert saturates() is (instruction_set() in {InstructionSet.AVX2, InstructionSet.AVX512})
