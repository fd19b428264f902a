"""Stub classes say what the signature file says: a compiler takes right calls and refuses wrong ones."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "android_demo"))

from toolchain.api_stubs import write_stubs

SIGNATURES = """\
// Signature format: 2.0
package android.os {

  @RequiresFeature("a(b)") public abstract class Task<P extends java.lang.Comparable<P>, R> {
    ctor public Task(@NonNull String);
    method @IntRange(from=0, to=9) protected abstract R run(P...) throws java.io.IOException;
    method public static <T> java.util.Map<java.lang.String,? super T> known(@Nullable Class<T>, int[][]);
    field public static final int LIMIT = 7; // 0x7
    field public static final long FAR = -9223372036854775808L; // 0x8000000000000000L
    field public static final String NAME = "a\\u0416\\"b";
    field public static final float HALF = 0.5f;
  }

  public static interface Task.Listener {
    method public void done(android.os.Task.State);
    method public default void begun();
  }

  public enum Task.State {
    enum_constant public static final android.os.Task.State GOOD;
  }

  public class Task.Inner {
    ctor public Task.Inner(int);
  }

}
"""
USE = """
import android.os.Task;

class Use extends Task<String, Integer> {
    Use() { super(Task.NAME); }
    protected Integer run(String... words) { return LIMIT; }
    void all(Task.Listener listener) {
        switch (LIMIT) { case Task.LIMIT: break; }
        listener.done(Task.State.valueOf("GOOD"));
        java.util.Map<String, ? super Integer> map = Task.known(Integer.class, new int[1][1]);
        Task<String, Integer>.Inner inner = this.new Inner(3);
        Task.Listener quiet = state -> System.out.println(state.name() + FAR + HALF);
    }
}
"""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("javac") is None:
        pytest.skip("javac is not installed: apt-get install default-jdk-headless")
    jar = tmp_path_factory.mktemp("stubs") / "api.jar"
    assert write_stubs(SIGNATURES, jar) == 4
    return jar


def errors(stubs: Path, folder: Path, source: str) -> str:
    (folder / "Use.java").write_text(source, encoding="utf-8")
    command = ["javac", "-encoding", "utf-8", "-cp", str(stubs), "-d", str(folder), str(folder / "Use.java")]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr  # noqa: S603 - our own words


def test_right_calls_compile(stubs: Path, tmp_path: Path) -> None:
    assert errors(stubs, tmp_path, USE) == ""
    # Constants are compiled in: they were read as they are written.
    assert 'aЖ"b'.encode() in (tmp_path / "Use.class").read_bytes()


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("super(Task.NAME)", "super(1)", "incompatible types"),
        ("Task<String, Integer> {", "Task<Object, Integer> {", "not within bounds"),
        ("Task.known(Integer.class", "Task.unknown(Integer.class", "cannot find symbol"),
        ("this.new Inner(3)", "new Task.Inner(3, 4)", "cannot be applied"),
        ('valueOf("GOOD")', "BAD", "cannot find symbol"),
        ("protected Integer run", "Integer run", "weaker access"),
    ],
)
def test_wrong_calls_do_not(stubs: Path, tmp_path: Path, right: str, wrong: str, says: str) -> None:
    assert right in USE
    assert says in errors(stubs, tmp_path, USE.replace(right, wrong))
