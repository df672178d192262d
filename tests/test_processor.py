import platform
from pathlib import Path

import pytest

from rella_cli.commands.version import amx_line
from rella_cpp import BuildInfo
from rella_cpp.engine.machine.processor import Processor, processor

XEON = """processor\t: 0
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu vme amx_tile avx2 amx_int8 amx_bf16 avx512f
bogomips\t: 5400.00

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"
NAMES = [
    (XEON, "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", ("amx_bf16", "amx_int8", "amx_tile")),
    (ARM, "aarch64 0x41 0xd0c", ("asimd",)),
    ("processor\t: 0\nhart\t: 1\nisa\t: rv64imafdc\n", "brand", ("rv64imafdc",)),
]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(platform, "processor", lambda: "brand")


def write_cpuinfo(root: Path, text: str) -> Path:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text(text)
    return root


@pytest.mark.parametrize(("text", "name", "some"), NAMES)
def test_the_kernel_names_it_and_its_features(text: str, name: str, some: tuple[str, ...], tmp_path: Path) -> None:
    found = processor(write_cpuinfo(tmp_path, text))
    assert found.name == name and set(some) <= set(found.features)
    assert list(found.features) == sorted(found.features)
    assert found.has_amx == (text == XEON)


def test_without_the_kernels_word_the_system_names_it(tmp_path: Path) -> None:
    assert processor(tmp_path) == Processor("brand", ())
    assert not processor(tmp_path).has_amx


def test_the_fingerprint_tells_processors_apart_and_nothing_else(tmp_path: Path) -> None:
    xeon = processor(write_cpuinfo(tmp_path, XEON)).fingerprint
    assert len(xeon) == 64
    for same in (("5400.00", "5399.98"), ("fpu vme", "vme fpu"), ("another", "else")):
        assert processor(write_cpuinfo(tmp_path, XEON.replace(*same))).fingerprint == xeon
    for other in ((" amx_tile", ""), ("8481C", "8481D")):
        assert processor(write_cpuinfo(tmp_path, XEON.replace(*other))).fingerprint != xeon


def test_amx_that_cannot_multiply_bytes_is_of_no_use() -> None:
    assert not Processor("Xeon", ("amx_bf16", "amx_tile")).has_amx


@pytest.mark.parametrize(
    ("features", "flags", "deadly", "said"),
    [
        (("amx_int8", "amx_tile"), ("AVX2", "AMX_INT8"), 0, "AMX: used"),
        (("amx_int8", "amx_tile"), ("AVX2", "AMX_INT8"), 2, "AMX: unused, llama.cpp failed with it in 2 of the trials"),
        (("amx_int8", "amx_tile"), ("AVX2",), 0, "AMX: unused, this build was compiled without it; docs/install.md"),
        (("avx2",), ("AVX2",), 0, ""),
    ],
)
def test_the_version_says_whether_amx_is_there_and_used(
    features: tuple[str, ...], flags: tuple[str, ...], deadly: int, said: str
) -> None:
    line = amx_line(Processor("Xeon", features), BuildInfo("0.3.36", {"CPU": flags}, offload=False), deadly)
    assert line.startswith(said) and bool(line) == bool(said)
