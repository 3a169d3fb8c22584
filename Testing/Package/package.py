"""Make the archive for *Install from file* in Slicer's Extensions Manager.

python Testing/Package/package.py --slicer 5.12

Needs nothing but Python. Slicer's own build makes the same content from CMakeLists.txt (tested against stand-ins).
"""

import argparse
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import manifest

ROOT = manifest.ROOT
DESCRIPTION = "MetaSSL.s4ext"


def make_archive(slicer: str, out: Path, macos_revision: str = "") -> Path:
    """Write the archive.

    Args:
        slicer: minor version of the Slicer that will install it, such as 5.12.
        out: folder of the archive.
        macos_revision: revision of that Slicer when it runs on macOS, which looks for the files in another place.

    Returns:
        Path of the archive.
    """
    top = f"MetaSSL-Slicer-{slicer}" + (f"-macOS-{macos_revision}" if macos_revision else "")
    inside = f"{top}/Slicer.app/Contents/Extensions-{macos_revision}/MetaSSL" if macos_revision else top
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{top}.zip"
    scripts, resources = manifest.listed().values()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in scripts + resources:
            archive.write(manifest.MODULE / file, f"{inside}/lib/Slicer-{slicer}/qt-scripted-modules/{file}")
        archive.writestr(f"{inside}/share/Slicer-{slicer}/{DESCRIPTION}", describe())
    return path


def describe() -> str:
    """The extension's description with the revision of this checkout, which Slicer shows and bug reports need."""
    description = (ROOT / DESCRIPTION).read_text(encoding="utf-8")
    try:
        git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
        revision = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return description  # no git, or no clone: the branch must do
    return re.sub(r"^scmrevision .*$", f"scmrevision {revision}", description, flags=re.MULTILINE)


def minor_version(text: str) -> str:
    """5.12 of 5.12 or 5.12.3."""
    version = re.fullmatch(r"(\d+\.\d+)(\.\d+)?", text)
    if not version:
        raise argparse.ArgumentTypeError(f"'{text}' is no version of Slicer; give the minor version, such as 5.12")
    return version[1]


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the archive for Install from file in Slicer.")
    parser.add_argument("--slicer", type=minor_version, required=True, help="version of your Slicer, such as 5.12")
    parser.add_argument("--macos-revision", default="", help="on macOS: its revision, such as 34045 (see About)")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder for the archive (default: build)")
    args = parser.parse_args()
    problems = manifest.differences()
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        return 1
    print(make_archive(args.slicer, args.out, args.macos_revision))
    return 0


if __name__ == "__main__":
    sys.exit(main())
