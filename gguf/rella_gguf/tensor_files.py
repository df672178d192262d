"""Write small GGUF files of our own: adapters and soft prompts."""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from rella_gguf.files import new_file
from rella_gguf.inspection import RECORD_HASH_KEY, RECORD_KEY

if TYPE_CHECKING:
    from gguf import GGUFWriter

    from rella_gguf.peft_files import Matrix


def write_tensors(
    out: Path, architecture: str, describe: "Callable[[GGUFWriter], None]", tensors: "Mapping[str, Matrix]"
) -> None:
    """Write a GGUF of float32 tensors, whole or not at all.

    Parameters
    ----------
    out
        The file to write.
    architecture
        Of the model that it is for; "" where that is not known.
    describe
        Adds the metadata.
    tensors
        By name.

    Raises
    ------
    InputError
        It cannot be written.

    """
    from gguf import GGUFWriter

    with new_file(out) as file:
        writer = GGUFWriter(file.name, architecture)
        try:
            describe(writer)
            for name, tensor in tensors.items():
                writer.add_tensor(name, tensor)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            # The writer's own way (numpy's tofile) does not say why it failed on a full disk.
            (stream,) = writer.fout
            writer.write_padding(stream, stream.tell())
            for tensor in tensors.values():
                stream.write(tensor.tobytes())
                writer.write_padding(stream, tensor.nbytes)
        finally:
            writer.close()


def add_base(writer: "GGUFWriter", name: str) -> None:
    """Say which model it was trained for."""
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, encodable(name))


def add_record(writer: "GGUFWriter", record: Mapping[str, object] | None) -> None:
    """Keep what the trainer wrote of how it was tuned, with its SHA-256."""
    if record is not None:
        text = json.dumps(record, sort_keys=True, ensure_ascii=True)
        writer.add_string(RECORD_KEY, text)
        writer.add_string(RECORD_HASH_KEY, sha256(text.encode()).hexdigest())


def encodable(text: str) -> str:
    """Put ? for halves of surrogate pairs, which names of files and JSON may hold and UTF-8 does not."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
