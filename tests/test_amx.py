import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import Run, run_python, runner

from rella_cpp.engine.machine.amx import HEADER, amx_flags

COLUMNS, ROWS, READ = bytes.fromhex("b1a5b2a6b3a7b4a8b5a9b6aab7abb8ac"), bytes.fromhex("c1d2c3d4c5d6c7d8"), 0x3B9D17C5
# The configuration as ggml declares and fills it; the numbers are found again in what the compiler writes. What is read
# back after the processor has stored there is not what was there before, so the comparison must stay.
SOURCE = f"""
#include <immintrin.h>
struct config {{
    unsigned char palette, start, reserved[14];
    unsigned short columns[16];
    unsigned char rows[16];
}};
void fill(void) {{
    struct config c __attribute__((aligned(64))) = {{1, 0, {{0}}, {{0}}, {{0}}}};
    {" ".join(f"c.columns[{i}] = {int.from_bytes(COLUMNS[2 * i : 2 * i + 2], 'little')};" for i in range(8))}
    {" ".join(f"c.rows[{i}] = {row};" for i, row in enumerate(ROWS))}
    _tile_loadconfig(&c);
}}
int read(void) {{
    unsigned words[16] __attribute__((aligned(64))) = {{0}};
    words[12] = {READ};
    _tile_storeconfig(words);
    return words[12] == {READ};
}}
"""
WORDS = [
    *(COLUMNS[i : i + 4] for i in range(0, 16, 4)),
    *(ROWS[i : i + 4] for i in (0, 4)),
    READ.to_bytes(4, "little"),
]
COMPILERS = [path for name in ("gcc", "g++", "clang", "clang++") if (path := shutil.which(name))]
with_compilers = pytest.mark.parametrize(
    "compiler",
    COMPILERS or [pytest.param("", marks=pytest.mark.skip(reason="there is no C or C++ compiler here"))],
)


def compiled(folder: Path, compiler: str, source: str, *flags: str) -> bytes:
    """Compile with every warning an error; return the object file."""
    path = folder / ("source.cpp" if compiler.endswith("++") else "source.c")
    path.write_text(source)
    command = [compiler, "-Wall", "-Wextra", "-pedantic", "-Werror", *flags, "-c", str(path), "-o", str(folder / "o")]
    subprocess.run(command, check=True)
    return (folder / "o").read_bytes()


def needs_amx(compiler: str) -> None:
    probe = [compiler, "-mamx-tile", "-fsyntax-only", "-x", "c", "-"]
    if subprocess.run(probe, input=b"", capture_output=True, check=False).returncode:
        pytest.skip(f"{compiler} compiles nothing for AMX")


@with_compilers
@pytest.mark.parametrize("flags", ["-O2", "-O2 -masm=intel", "-O3 -march=sapphirerapids"])
def test_all_of_a_configuration_reaches_the_processor(compiler: str, flags: str, tmp_path: Path) -> None:
    needs_amx(compiler)
    built = compiled(tmp_path, compiler, SOURCE, "-mamx-tile", *flags.split(), *shlex.split(amx_flags()))
    assert [word for word in WORDS if word not in built] == []


@with_compilers
def test_without_amx_it_changes_nothing(compiler: str, tmp_path: Path) -> None:
    source = "int main(void) { return 3; }"
    with_it = compiled(tmp_path, compiler, source, "-O3", *shlex.split(amx_flags()))
    assert with_it == compiled(tmp_path, compiler, source, "-O3")


@with_compilers
def test_old_c_and_assembler_take_it_too(compiler: str, tmp_path: Path) -> None:
    needs_amx(compiler)
    old = "-std=c++98" if compiler.endswith("++") else "-std=c89"
    assert compiled(tmp_path, compiler, "int main(void) { return 3; }", old, "-mamx-tile", *shlex.split(amx_flags()))
    assert compiled(tmp_path, compiler, ".text\n", "-x", "assembler-with-cpp", "-mamx-tile", *shlex.split(amx_flags()))


def test_a_path_with_blanks_stays_one_word() -> None:
    assert amx_flags(Path("/my env/a.h")) == "-include '/my env/a.h'"
    assert shlex.split(amx_flags()) == ["-include", str(HEADER)] and HEADER.is_file()


def test_the_command_prints_the_flags_where_llama_cpp_cannot_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    rella: Run = runner(capsys)
    assert rella("--amx-flags").out == f"{amx_flags()}\n"
    broken = "import sys; sys.modules['llama_cpp'] = None\nfrom rella_cli.main import main\nmain(sys.argv[1:])"
    assert run_python(broken, "--amx-flags") == f"{amx_flags()}\n"
