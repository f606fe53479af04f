"""Images in folders named after their class, on disk or in a .zip, which is read in memory: names in it are data, nothing is unpacked."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.data.findings import Findings
from trainer.data.images.decode import Unusable
from trainer.data.images.listing import Content, Listing
from trainer.data.layout import find_parts, part_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".jp2")
MOST_BYTES = 1 << 28  # of one image file
_IGNORED = ("thumbs.db", "desktop.ini")


def holds_images(root: Path) -> bool:
    """Whether any file below ``root`` is an image by its name."""
    return any(path.suffix.lower() in SUFFIXES for path in root.rglob("*"))


def list_folder(root: Path, findings: Findings) -> Listing:
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    listing = Listing()
    for name, part, label in placed(names, findings):
        listing.add(label, part=part, file=name)

    def read(position: int) -> Content:
        return read_file(root / listing.files[position])

    listing.read = read
    return listing


def read_file(path: Path) -> bytes:
    """Raises Unusable."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Unusable(f"it is larger than {MOST_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"it cannot be read: {error.strerror}") from None


def list_archives(root: Path, findings: Findings) -> Listing:
    """All .zip files that ``layout.find_parts`` finds; a file's own name may say the split of all that is in it."""
    listing = Listing()
    members: list[tuple[zipfile.ZipFile, zipfile.ZipInfo]] = []
    for own_part, paths in find_parts(root, (".zip",)).items():
        for path in paths:
            try:
                archive = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, OSError) as error:
                findings.fatal(f"it cannot be read: {error}", file=path.name)
                continue
            infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
            for name, part, label in placed(sorted(infos), findings):
                listing.add(label, part=part if part or own_part == "all" else own_part, file=f"{path.name}/{name}")
                members.append((archive, infos[name]))
    listing.read = lambda position: read_member(*members[position])
    return listing


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Raises Unusable. What it announces is not believed: no more is read than an image may have."""
    if info.flag_bits & 1:
        raise Unusable("it is encrypted")
    try:
        with archive.open(info) as file:
            content = file.read(MOST_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise Unusable(f"it cannot be unpacked: {error}") from None
    if len(content) > MOST_BYTES:
        raise Unusable(f"it is larger than {MOST_BYTES >> 20} MiB")
    return content


def placed(names: Sequence[str], findings: Findings) -> Iterator[tuple[str, str | None, str]]:
    """(name, split, class) of every image among ``names``, which are paths with slashes.

    The class is the first folder, or the second where the first says a split. Folders that hold everything do not count.
    """
    paths = {name: [step for step in name.replace("\\", "/").split("/") if step not in ("", ".", "..")] for name in names}
    paths = {name: steps for name, steps in paths.items() if steps and not _is_hidden(steps)}
    images = [name for name, steps in paths.items() if steps[-1].lower().endswith(SUFFIXES)]
    outer = _num_outer_folders([paths[name] for name in images])
    for name, steps in paths.items():
        inner = steps[outer:]
        part = part_of(inner[0]) if len(inner) > 2 else None
        folders = inner[1:-1] if part else inner[:-1]
        if not steps[-1].lower().endswith(SUFFIXES):
            if folders:
                findings.bad_row("it is no image, by its name", file=name)
            else:
                findings.count("files beside the folders of classes ignored")
        elif not folders:
            findings.bad_row("it lies in no folder that names its class", file=name)
        else:
            yield name, part, folders[0]


def _is_hidden(steps: list[str]) -> bool:
    return steps[-1].lower() in _IGNORED or any(step.startswith(".") or step == "__MACOSX" for step in steps)


def _num_outer_folders(paths: list[list[str]]) -> int:
    """How many leading folders are the same for all images and name neither a split nor a class."""
    outer = 0
    while paths and all(len(steps) > outer + 2 for steps in paths):
        if len({steps[outer] for steps in paths}) > 1 or part_of(paths[0][outer]) is not None:
            break
        outer += 1
    return outer
