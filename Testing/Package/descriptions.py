"""The three descriptions of the extension, as dictionaries with Slicer's own keywords."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def of_cmake() -> dict[str, str]:
    """Every ``set(EXTENSION_KEYWORD "value")`` of CMakeLists.txt, as the Extensions Index reads it."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    values = {key.lower(): value for key, value in re.findall(r'^set\(EXTENSION_(\w+) "([^"$\n]*)"\)$', text, re.M)}
    return {"name": re.search(r"^project\((\w+)\)$", text, re.M)[1], **values}


def of_s4ext(path: Path = ROOT / "MetaSSL.s4ext") -> dict[str, str]:
    """The keywords of a description file, as Slicer reads them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    values = dict(line.split(" ", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {"name": path.stem, **values}


def of_json() -> dict:
    """The entry for the Extensions Index."""
    return json.loads((ROOT / "MetaSSL.json").read_text(encoding="utf-8"))
