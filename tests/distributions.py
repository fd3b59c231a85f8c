"""Other installed distributions, as folders for `sys.path`."""

from __future__ import annotations

from pathlib import Path


def write_distribution(
    folder: Path, module: str, *groups: str, name: str = "toy", package: str = "assay_toy"
) -> Path:
    """A distribution of one module that takes part in groups of entry points.

    Args:
        module: the source of `package`.
        groups: each gets the entry point `name`.
    """
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    distribution = package.replace("_", "-")
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", "utf-8"
    )
    points = "".join(f"[{group}]\n{name} = {package}\n" for group in groups)
    (info / "entry_points.txt").write_text(points, "utf-8")
    (folder / f"{package}.py").write_text(module, "utf-8")
    return folder
