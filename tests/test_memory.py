import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from commands import run_python, runner
from tiny_model import Shape, write_model

from rella_cpp import Engine, EngineError, EngineSettings, read_header
from rella_cpp.engine.machine.cores import usable_cores, usable_memory
from rella_cpp.engine.machine.memory import cache_bytes, check_room, no_context

WIDE = Shape(embd=128, heads=4, heads_kv=2, ctx=65536)  # rows of 64, which quantised types divide


@pytest.fixture(scope="module")
def wide(models: Path) -> Path:
    return write_model(models / "wide.gguf", shape=WIDE)


def files(root: Path, **contents: str) -> Path:
    for name, text in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


def meminfo(root: Path, groups: str) -> Path:
    text = "MemTotal: 9000 kB\nMemAvailable:    4000 kB\nSwapFree:  1000 kB\n"
    return files(root, proc__meminfo=text, proc__self__cgroup=groups)


@pytest.mark.parametrize("kv_type", ["f32", "f16", "bf16", "q8_0", "q4_0"])
def test_llama_cpp_takes_what_is_counted(wide: Path, kv_type: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("INFO", "rella_cpp.llama_cpp"),
        Engine.from_gguf(wide, EngineSettings(ctx=65536, kv_type=kv_type)) as engine,  # type: ignore[arg-type]
    ):
        counted = cache_bytes(engine.header, 65536, kv_type)
    said = re.search(r"kv_cache: size = +([\d.]+) MiB", caplog.text)
    assert said and counted and counted / 2**20 == pytest.approx(float(said[1]), abs=0.01)  # it prints two decimals


def test_keys_and_values_may_be_wider_than_the_state(wide: Path) -> None:
    header = read_header(wide)
    assert cache_bytes(header, 1000, "f16") == 1000 * 2 * 2 * (64 + 64)  # tokens, bytes, layers, key and value
    own = replace(header, metadata=header.metadata | {"llama.attention.key_length": 100})
    assert cache_bytes(own, 1000, "f16") == 1000 * 2 * 2 * (200 + 64)  # 2 heads of 100


@pytest.mark.parametrize("key", ["llama.ssm.inner_size", "llama.attention.kv_lora_rank"])
def test_what_some_layers_do_not_keep_is_not_counted(wide: Path, key: str) -> None:
    header = read_header(wide)
    hybrid = replace(header, metadata=header.metadata | {key: 8})
    assert cache_bytes(hybrid, 1000, "f16") is None
    check_room(hybrid, 1000, "f16", room=lambda: 1)  # nothing is known, so nothing is refused
    assert "MB" not in str(no_context(hybrid, 1000, "f16", "no reason given"))


def test_a_context_that_does_not_fit_is_refused_with_the_setting_to_lower(wide: Path) -> None:
    header = read_header(wide)
    need = cache_bytes(header, 65536, "f16")
    assert need == 33_554_432
    check_room(header, 65536, "f16", room=lambda: need)
    check_room(header, 65536, "f16", room=lambda: None)
    with pytest.raises(EngineError) as caught:
        check_room(header, 65536, "f16", room=lambda: 20_000_000)
    assert str(caught.value) == (
        "the keys and values of 65,536 tokens take 34 MB in f16, and this process has 20 MB left: "
        "lower --ctx (below 38,912), or take --kv-type q8_0 (18 MB)"
    )
    check_room(header, 38_912, "f16", room=lambda: 20_000_000)  # the advice holds
    check_room(header, 65536, "q8_0", room=lambda: 20_000_000)


@pytest.mark.parametrize(
    ("room", "advice"),
    [
        (10_000_000, r"lower --ctx \(below 19,456\), or take --kv-type q4_0 \(9 MB\)"),  # q8_0 would not fit either
        (1_000_000, r"lower --ctx \(below 1,792\)"),  # no type would
        (0, r"lower --ctx, free memory, or raise its limit \(ulimit -v\)"),
    ],
)
def test_only_what_would_fit_is_advised(wide: Path, room: int, advice: str) -> None:
    with pytest.raises(EngineError, match=f"MB left: {advice}$"):
        check_room(read_header(wide), 65536, "f16", room=lambda: room)


def test_a_command_says_what_to_lower_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 2 TB, more than any machine of today has for it, and more than one buffer that a Linux would grant.
    model = write_model(tmp_path / "endless.gguf", shape=Shape(embd=64, heads=1, heads_kv=1, ctx=2_000_000_000))
    for name in ("history", "item"):
        (tmp_path / f"{name}.json").write_text('[{"title": "Alien"}]', encoding="utf-8")
    given = ("--history", tmp_path / "history.json", "--item", tmp_path / "item.json", "--model", model)
    result = runner(capsys)("score", *given, "--ctx", 2_000_000_000, "--kv-type", "f32")
    assert result.code == 1 and result.out == ""
    assert result.err.count("\n") == 1 and "take 2,048,000 MB in f32" in result.err and "lower --ctx" in result.err


@pytest.mark.skipif(sys.platform != "linux", reason="sets Linux's limit of a process's memory")
@pytest.mark.parametrize("spare", [16, 48, 100, 150])  # MiB: less than the keys and values, and than the graphs too
def test_a_limit_of_the_process_gives_the_same_line(wide: Path, spare: int) -> None:
    code = (
        "import re, resource, sys\n"
        "from rella_cpp import Engine, EngineError, EngineSettings\n"
        "Engine.from_gguf(sys.argv[1], EngineSettings(ctx=256)).close()\n"  # all libraries are in memory now
        "now = int(re.search(r'VmSize:\\s+(\\d+)', open('/proc/self/status').read())[1]) << 10\n"
        "resource.setrlimit(resource.RLIMIT_AS, (now + (int(sys.argv[2]) << 20), resource.RLIM_INFINITY))\n"
        "try:\n"
        "    Engine.from_gguf(sys.argv[1], EngineSettings(ctx=65536))\n"
        "except EngineError as error:\n"
        "    print(error)\n"
    )
    said = run_python(code, wide, spare)
    assert (
        said.startswith("the keys and values of 65,536 tokens take 34 MB in f16, and this process has")
        and "--ctx" in said
    )


def test_what_llama_cpp_refuses_says_the_same(wide: Path) -> None:
    assert str(no_context(read_header(wide), 65536, "f16", "no room")) == (
        "no context of 65,536 tokens could be made (no room): its keys and values take 34 MB in f16: lower --ctx, or "
        "take --kv-type q8_0 (18 MB)"
    )


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/", {}, 5000 << 10),  # what is available, and swap
        ("0::/", {"memory.max": "max"}, 5000 << 10),
        ("0::/", {"memory.max": "3000000"}, 3_000_000),  # a container, which sees itself as the root
        ("0::/user/app", {"user/memory.max": "2000000", "user/app/memory.max": "max"}, 2_000_000),
        ("4:memory:/app", {"memory/app/memory.limit_in_bytes": "1000000"}, 1_000_000),
        ("4:memory:/docker/1f", {"memory/memory.limit_in_bytes": "1500000"}, 1_500_000),
        ("4:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 5000 << 10),
        ("4:cpu:/app", {"memory/app/memory.limit_in_bytes": "1000000"}, 5000 << 10),  # another controller's path
    ],
)
def test_memory_ends_at_the_control_groups_limit(
    tmp_path: Path, groups: str, limits: dict[str, str], expected: int
) -> None:
    meminfo(tmp_path, groups)
    for name, text in limits.items():
        files(tmp_path, **{f"sys/fs/cgroup/{name}": text})
    assert usable_memory(tmp_path) == expected


@pytest.mark.parametrize(("limit", "expected"), [("unlimited", 5000 << 10), ("140000000", 140_000_000 - (129 << 20))])
def test_memory_ends_at_the_limit_of_the_address_space(tmp_path: Path, limit: str, expected: int) -> None:
    meminfo(tmp_path, "0::/")
    header = "Limit                     Soft Limit           Hard Limit           Units\n"
    files(
        tmp_path,
        proc__self__limits=f"{header}Max address space         {limit}            unlimited            bytes\n",
    )
    files(tmp_path, proc__self__status="Name:\tpython\nVmSize:\t    1024 kB\n")
    assert usable_memory(tmp_path) == expected  # 1 MiB is used, 128 are for llama.cpp's graphs


def test_where_there_is_no_meminfo_the_machines_memory_counts(tmp_path: Path) -> None:
    assert usable_memory(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="counted by joblib here")
@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/", {}, 4),
        ("0::/", {"cpu.max": "max 100000"}, 4),
        ("0::/a", {"a/cpu.max": "150000 100000"}, 2),  # one and a half
        ("3:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_quota_us": "100000", "cpu/a/cpu.cfs_period_us": "100000"}, 1),
        ("3:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, 4),
    ],
)
def test_cores_end_at_the_control_groups_limit(
    tmp_path: Path, groups: str, limits: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    files(tmp_path, proc__self__cgroup=groups)
    for name, text in limits.items():
        files(tmp_path, **{f"sys/fs/cgroup/{name}": text})
    assert usable_cores(tmp_path) == expected


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="counted by joblib here")
def test_two_threads_of_a_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    for cpu in range(4):
        folder = f"sys/devices/system/cpu/cpu{cpu}/topology"
        files(tmp_path, **{f"{folder}/physical_package_id": "0", f"{folder}/core_id": str(cpu // 2)})
    assert usable_cores(tmp_path) == 2
