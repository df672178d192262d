from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_files import write_tensors
from tiny_model import finish, write_model

from rella_gguf import GGUFError, TensorInfo, read_header
from rella_gguf.reader import DigestingReader, Reader
from rella_gguf.rewrite import Rewrite


def contents(path: Path) -> dict[str, object]:
    return {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items() if not key.startswith("GGUF.")}


def rewritten(path: Path, out: Path, texts: dict[str, str], without: tuple[str, ...] = ()) -> Rewrite:
    """Write the header and zeros for data."""
    header = read_header(path)
    rewrite = Rewrite.of(header, header.tensors, without)
    out.write_bytes(rewrite.header(texts) + bytes(rewrite.data_bytes))
    return rewrite


def test_metadata_goes_through_and_gguf_reads_what_was_added(any_model: Path, tmp_path: Path) -> None:
    # gguf's own reader, which knows nothing of ours, finds every entry as it was, the tokenizer's arrays included.
    out = tmp_path / "out.gguf"
    rewrite = rewritten(any_model, out, {"rella.new": "ä\n"}, ("general.name",))
    wanted = contents(any_model)
    del wanted["general.name"]
    assert contents(out) == wanted | {"rella.new": "ä\n"}
    assert list(contents(out)) == [*wanted, "rella.new"]
    for tensor, laid in zip(gguf.GGUFReader(out).tensors, rewrite.tensors, strict=True):
        assert int(tensor.data_offset) == read_header(out).data_start + laid.offset and laid.offset % 32 == 0


def test_a_text_takes_the_place_of_an_entry(spm_model: Path, tmp_path: Path) -> None:
    rewritten(spm_model, tmp_path / "out.gguf", {"general.name": "Other"})
    assert contents(tmp_path / "out.gguf") == contents(spm_model) | {"general.name": "Other"}


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_the_alignment_is_the_bases(tmp_path: Path, alignment: int) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_custom_alignment(alignment)
    for name in "abc":
        writer.add_tensor(name, np.ones(3, np.float32))
    finish(writer)
    rewrite = rewritten(tmp_path / "m.gguf", tmp_path / "out.gguf", {"k": "v"})
    assert [tensor.offset for tensor in rewrite.tensors] == [0, max(alignment, 16), 2 * max(alignment, 16)]
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    assert reader.alignment == alignment
    assert [int(t.data_offset) % alignment for t in reader.tensors] == [0, 0, 0]


def test_version_2_stays_version_2(spm_model: Path, tmp_path: Path) -> None:
    data = bytearray(spm_model.read_bytes())
    data[4] = 2
    (tmp_path / "two.gguf").write_bytes(data)
    rewritten(tmp_path / "two.gguf", tmp_path / "out.gguf", {"k": "v"})
    assert read_header(tmp_path / "out.gguf").version == 2
    assert read_header(tmp_path / "out.gguf").metadata == read_header(spm_model).metadata | {"k": "v"}


def test_the_ranges_of_a_header_are_all_of_its_metadata(any_model: Path) -> None:
    header = read_header(any_model)
    ranges = list(header.ranges.values())
    assert list(header.ranges) == list(header.metadata)
    assert ranges[0][0] == 24 and all(end == start for (_, end), (start, _) in zip(ranges, ranges[1:], strict=False))


def test_a_base_that_has_gone_is_named(spm_model: Path, tmp_path: Path) -> None:
    base = write_model(tmp_path / "m.gguf")
    rewrite = Rewrite.of(read_header(base), [TensorInfo("a", (4,), 0, 0)])
    base.unlink()
    with pytest.raises(GGUFError, match=r"m\.gguf"):
        rewrite.header({})


@settings(deadline=None, max_examples=50)
@given(reads=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 1000)), max_size=8))
def test_the_digest_is_the_files_whatever_was_read(
    tmp_path_factory: pytest.TempPathFactory, reads: list[tuple[int, int]]
) -> None:
    from hashlib import sha256

    data = np.random.default_rng(0).bytes(10_000)
    path = tmp_path_factory.mktemp("digest") / "x"
    path.write_bytes(data)
    with DigestingReader(path) as reader:
        for start, size in reads:
            assert reader.read(start, size) == data[start : start + size]
        assert reader.sha256() == sha256(data).hexdigest()


@pytest.mark.parametrize("kind", [Reader, DigestingReader])
def test_reading_past_the_end_is_refused(tmp_path: Path, kind: type[Reader]) -> None:
    path = write_tensors(tmp_path / "m.gguf", {"a": ("F32", np.ones((1, 4), np.float32))})
    with kind(path) as reader, pytest.raises(GGUFError, match=r"m\.gguf: ends at byte"):
        reader.read(0, 10_000)
    with pytest.raises(GGUFError, match="No such file"):
        kind(tmp_path / "none.gguf")
