import hashlib
import json
import logging
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peft_folder import soft_embeddings, write_peft, write_soft
from tiny_model import Shape, write_adapter, write_model

from rella_cpp import Adapter, Cache, InputError, Rella, Score
from rella_gguf import convert_adapter

HISTORY = [{"title": "Alien", "rating": 5}, {"title": "Notting Hill", "rating": 1}]
ITEM = {"title": "Aliens"}


@pytest.fixture(scope="module")
def files(models: Path) -> dict[str, Path]:
    roomy = Shape(ctx=4096)
    return {
        "model": write_model(models / "for-adapters.gguf", shape=roomy),
        "alice": write_adapter(models / "alice.gguf", seed=11),
        "bob": write_adapter(models / "bob.gguf", seed=12),
        "peft": write_peft(models / "carol", seed=13),
    }


@pytest.fixture
def rella(files: dict[str, Path]) -> Iterator[Rella]:
    with Rella.from_gguf(files["model"], cache=Cache(None)) as rella:
        yield rella


def gap(rella: Rella) -> float:
    return rella.score(HISTORY, ITEM, retrieval="recent").gap


def test_adapters_are_switched_between_requests_and_give_the_bits_of_being_alone(
    rella: Rella, files: dict[str, Path]
) -> None:
    alone = {}
    for name in ("alice", "bob"):
        with Rella.from_gguf(files["model"], lora=[(files[name], 0.1)], cache=Cache(None)) as own:
            alone[name] = gap(own)
    plain = gap(rella)
    assert len({plain, *alone.values()}) == 3
    for name in ("alice", "bob", "alice"):
        rella.adapters = [(files[name], 0.1)]
        assert gap(rella) == alone[name]
        assert [adapter.path for adapter in rella.adapters] == [files[name]]
    rella.adapters = ()
    assert gap(rella) == plain


def test_two_users_with_two_adapters_at_the_same_time_do_not_meet(rella: Rella, files: dict[str, Path]) -> None:
    others = {name: Rella(rella.engine, rella.domain, cache=Cache(None)) for name in ("alice", "bob")}
    for name, other in others.items():
        other.adapters = [(files[name], 0.1)]
    alone = {name: gap(other) for name, other in others.items()}
    found: dict[str, list[float]] = {name: [] for name in others}

    def ask(name: str) -> None:
        found[name] = [gap(others[name]) for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(name,)) for name in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [alone[name]] * 20 for name in others}


def test_a_peft_folder_is_converted_once_into_the_cache(
    files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    convert_adapter(files["peft"], tmp_path / "carol.gguf", base=files["model"])
    with Rella.from_gguf(files["model"], lora=[tmp_path / "carol.gguf"], cache=Cache(None)) as rella:
        wanted = gap(rella)
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        with Rella.from_gguf(files["model"], lora=[files["peft"]], cache=cache) as rella:
            assert gap(rella) == wanted
            assert rella.model.adapters[0].name == "carol.gguf"
    (converted,) = (tmp_path / "cache/adapters").rglob("*.gguf")
    assert converted.read_bytes() == (tmp_path / "carol.gguf").read_bytes()
    assert cache.info().adapters == 1
    cache.clear()
    assert not converted.exists()
    assert caplog.text.count("does not say what it was tuned on") == 3


def test_a_cache_that_dies_takes_converted_adapters_with_it(files: dict[str, Path]) -> None:
    with Rella.from_gguf(files["model"], lora=[files["peft"]], cache=Cache(None)) as rella:
        path = rella.adapters[0].path
        assert path.exists() and rella.model.adapters
    assert not path.exists()


def recorded(files: dict[str, Path], folder: Path, rella: Rella, **changes: Any) -> Path:
    """A PEFT folder with a record that fits the judge, but for `changes`."""
    settings: dict[str, Any] = rella.settings()
    record = {
        "domain": settings["domain"],
        "chat_format": settings["chat_format"],
        "base": {"name": "m.gguf", "fingerprint": settings["model"]["fingerprint"]},
        **changes,
    }
    write_peft(folder, seed=13)
    (folder / "rella.json").write_text(json.dumps(record))
    return folder


def test_an_adapter_with_a_fitting_record_is_taken_without_a_word(
    rella: Rella, files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "rella_cpp")
    before = len(caplog.records)
    rella.adapters = [recorded(files, tmp_path / "good", rella)]
    rella.adapters = [recorded(files, tmp_path / "no-base", rella, base=None, chat_format=None)]
    assert len(caplog.records) == before and len(rella.adapters) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"domain": {"name": "movies", "fingerprint": "other"}}, "domain movies in another wording"),
        ({"base": {"name": "other.gguf", "fingerprint": "a" * 64}}, "model other.gguf (aaaaaaaaaaaa), not this one"),
        ({"chat_format": "vicuna"}, "chat format vicuna, not the model's own"),
    ],
)
def test_an_adapter_tuned_on_something_else_is_refused_unless_allowed(
    rella: Rella, files: dict[str, Path], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    plain = gap(rella)
    folder = recorded(files, tmp_path / "other", rella, **changes)
    with pytest.raises(InputError) as caught:
        rella.adapters = [folder]
    assert words in str(caught.value) and "--allow-mismatch" in str(caught.value) and str(folder) in str(caught.value)
    assert gap(rella) == plain  # what was applied before stays
    rella.use_adapters([Adapter(folder)], allow_mismatch=True)
    assert gap(rella) != plain


def test_an_adapter_tuned_on_choices_is_said_to_be_and_refused_with_other_words_for_them(
    rella: Rella, files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    domain = {"name": "movies", "fingerprint": rella.domain.fingerprint}
    fitting = recorded(files, tmp_path / "fits", rella, domain=domain | {"choice": rella.domain.choice_fingerprint})
    rella.adapters = [fitting]
    history = [{"title": "Alien"}]
    rella.choose(history, [{"title": "Heat"}, {"title": "Up"}])
    assert "asked for yes or no" not in caplog.text
    for _ in range(2):
        rella.score(history, {"title": "Heat"})
    assert caplog.text.count("fits.gguf: tuned to choose among candidates") == 1  # said once
    with pytest.raises(InputError, match="domain movies in another wording"):
        rella.adapters = [recorded(files, tmp_path / "other", rella, domain=domain | {"choice": "b" * 64})]


def test_an_adapter_tuned_behind_a_soft_prompt_asks_for_that_one(
    rella: Rella, files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    behind = {"tokens": 5, "fingerprint": hashlib.sha256(soft_embeddings().tobytes()).hexdigest()}
    folder = recorded(files, tmp_path / "behind", rella, soft_prompt=behind)
    rella.adapters = [folder]
    assert caplog.text.count("was tuned behind a soft prompt, and none is in use") == 1
    rella.use_soft(write_soft(tmp_path / "soft"))
    rella.adapters = [folder]
    assert caplog.text.count("was tuned behind a soft prompt, and none is in use") == 1
    another = write_soft(tmp_path / "another", seed=2)
    there = rella.soft
    with pytest.raises(InputError, match="was tuned behind another soft prompt .* than another.gguf"):
        rella.use_soft(another)
    assert rella.soft is there
    rella.adapters = ()
    rella.use_soft(another)
    with pytest.raises(InputError, match="was tuned behind another soft prompt"):
        rella.adapters = [folder]
    assert rella.adapters == ()
    rella.use_adapters([Adapter(folder)], allow_mismatch=True)
    assert len(rella.adapters) == 1


def test_a_record_of_another_kind_is_refused(rella: Rella, files: dict[str, Path], tmp_path: Path) -> None:
    folder = recorded(files, tmp_path / "odd", rella, domain=None)
    with pytest.raises(InputError, match="no manifest of rows"):
        rella.adapters = [folder]


def test_an_adapter_fits_a_model_that_was_quantised_from_its_base(files: dict[str, Path], tmp_path: Path) -> None:
    from rella_gguf.quantization import quantize

    base = write_model(tmp_path / "base.gguf", shape=Shape(embd=32, ff=32, ctx=4096))
    smaller = tmp_path / "smaller.gguf"
    quantize(base, smaller, "Q8_0")
    with Rella.from_gguf(base, cache=Cache(None)) as rella:
        folder = recorded(files, tmp_path / "tuned", rella)
    write_peft(folder, shape=Shape(embd=32, ff=32), seed=13)
    with Rella.from_gguf(smaller, lora=[folder], cache=Cache(None)) as rella:
        found: Score = rella.score(HISTORY, ITEM, retrieval="recent")
        assert [adapter.name for adapter in found.model.adapters] == ["tuned.gguf"]


def test_an_adapter_that_takes_another_s_place_is_another_one(
    rella: Rella, files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "swapped.gguf"
    shutil.copyfile(files["alice"], path)
    rella.adapters = [(path, 0.1)]
    first, fingerprint = gap(rella), rella.model.adapters[0].fingerprint
    shutil.copyfile(files["bob"], path)
    assert gap(rella) == first and rella.model.adapters[0].fingerprint == fingerprint  # what was loaded stays
    rella.adapters = [(path, 0.1)]
    assert gap(rella) != first and rella.model.adapters[0].fingerprint != fingerprint


def test_a_loaded_adapter_needs_its_file_no_more(files: dict[str, Path], tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with Rella.from_gguf(files["model"], lora=[(files["peft"], 0.1)], cache=cache) as rella:
        before = gap(rella)
        cache.clear()
        assert gap(rella) == before
        rella.adapters = [(files["peft"], 0.1)]
        assert gap(rella) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "no list of adapters"),
        (5, "no list of adapters"),
        ({"a.gguf": 0.5}, "no list of adapters"),
        ([""], "'' is no adapter"),
        ([("a.gguf", "x")], "the scale is x"),
        ([("a.gguf", 10**400)], "the scale is 1000"),
        ([("a.gguf", 1e39)], "the scale is 1e+39"),
        (("a.gguf", 0.5), "0.5 is no adapter"),
        ([("a.gguf", 0.5, 1)], "is no adapter"),
    ],
)
def test_what_is_no_list_of_adapters_is_refused(rella: Rella, given: Any, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        rella.adapters = given


def test_an_adapter_named_twice_is_refused_however_it_is_spelt(
    rella: Rella, files: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "link.gguf").symlink_to(files["alice"])
    shutil.copyfile(files["alice"], tmp_path / "copy.gguf")
    shutil.copytree(files["peft"], tmp_path / "carol")
    for twin in (tmp_path / "link.gguf", tmp_path / "copy.gguf"):
        with pytest.raises(InputError, match="is named twice"):
            rella.adapters = [files["alice"], twin]
    with pytest.raises(InputError, match="is named twice"):
        rella.adapters = [files["peft"], (tmp_path / "carol", 0.5)]


@pytest.mark.parametrize(
    "changes",
    [{"base": "tiny/base"}, {"base": {"fingerprint": ["a"]}}, {"chat_format": 5}, {"domain": {"name": "x" * 999}}],
)
def test_a_record_with_odd_entries_is_refused(
    rella: Rella, files: dict[str, Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="no manifest of rows"):
        rella.adapters = [recorded(files, tmp_path / "odd", rella, **changes)]
