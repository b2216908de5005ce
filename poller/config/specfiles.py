"""Finds the spec files that a config names, and reads them as plain data; what they mean is for others to say."""

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from poller.config.textfile import reason, shown_name
from poller.config.wording import Mistake, found
from poller.config.yamlfile import Document, read_yaml

_PATTERN = "*.yaml"


@dataclass(frozen=True, slots=True)
class SpecFiles:
    """The spec files, each once, with what was looked for, and what is wrong with the names of either."""

    documents: tuple[Document, ...]
    files: tuple[Path, ...]
    patterns: tuple[str, ...]
    wrong: tuple[Mistake, ...]


def find_specs(named: Iterable[tuple[int, str]], folder: Path) -> SpecFiles:
    """The files at ``named`` positions of `provider_specs`, and those in folders there; relative to ``folder``.

    A folder may be empty, for its first file may come, but it must be there. What cannot be read is told in its
    document.
    """
    files: dict[str, Path] = {}
    patterns: list[str] = []
    wrong: list[Mistake] = []
    for index, name in named:
        path = folder / name
        try:
            inside = _inside(path)
        except (OSError, ValueError) as error:
            text = f"{found(name)} {reason(error)}, a spec file or a folder of spec files (*.yaml) is allowed"
            wrong.append(Mistake(("provider_specs", index), text))
            continue
        if inside is not None:
            patterns.append(str(Path(glob.escape(str(path)), _PATTERN)))
        for file in [path] if inside is None else inside:
            files.setdefault(os.path.realpath(file), file)
    documents = tuple(read_yaml(file, shown_name(str(file))) for file in files.values())
    return SpecFiles(documents, tuple(files.values()), tuple(patterns), tuple(wrong))


def _inside(path: Path) -> list[Path] | None:
    """The spec files in the folder at ``path``, in order; None for a file. OSError for what is neither."""
    path.lstat()
    if not path.is_dir():
        return None
    with os.scandir(path):
        # Not Path.glob, which would find hidden files, and so each file of a Kubernetes volume several times.
        return [path / name for name in sorted(glob.glob(_PATTERN, root_dir=path))]  # noqa: PTH207
