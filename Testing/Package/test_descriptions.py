"""CMakeLists.txt, MetaSSL.s4ext and MetaSSL.json say the same, and what the Extensions Index asks for."""

import json
import re

import numpy as np
import pytest
from descriptions import ROOT, of_cmake, of_json, of_s4ext
from metassl.regions import REGIONS
from PIL import Image

HOMEPAGE = of_cmake()["homepage"]
FILES = f"{HOMEPAGE.replace('https://github.com/', 'https://raw.githubusercontent.com/')}/main/"
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json"
)
SCHEMA_TYPES = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
ICONS = ("Resources/MetaSSL.png", "MetaSSLSegment/Resources/Icons/MetaSSLSegment.png")


def image_urls():
    """The addresses of icon and screenshots."""
    return [of_cmake()["iconurl"], *of_cmake()["screenshoturls"].split()]


@pytest.mark.parametrize(
    "key",
    ["name", "homepage", "category", "contributors", "depends", "description", "iconurl", "screenshoturls"],
)
def test_cmake_and_s4ext_agree(key):
    assert of_s4ext()[key] == of_cmake()[key]


@pytest.mark.parametrize(
    ("json_key", "s4ext_key"),
    [
        ("category", "category"),
        ("scm_url", "scmurl"),
        ("scm_revision", "scmrevision"),
        ("build_subdirectory", "build_subdirectory"),
        ("tier", "tier"),
    ],
)
def test_json_and_s4ext_agree(json_key, s4ext_key):
    assert str(of_json()[json_key]) == of_s4ext()[s4ext_key]


def test_all_depend_on_the_pytorch_extension():
    assert of_json()["build_dependencies"] == of_cmake()["depends"].split() == ["PyTorch"]


def test_the_index_accepts_the_json_entry():
    """The rules of the index's schema, and of its own checks."""
    entry = of_json()
    assert entry["$schema"] == f"{SCHEMA}#"
    assert {"$schema", "category", "scm_url"} <= set(entry) <= set(SCHEMA_TYPES)
    for key, value in entry.items():
        assert type(value) is SCHEMA_TYPES[key], key
    assert all(isinstance(name, str) for name in entry["build_dependencies"])
    assert 1 <= entry["tier"] <= 5
    assert entry.get("scm_type", "git") == "git"
    assert re.fullmatch(r"https://github\.com/[\w.-]+/Slicer\w+", entry["scm_url"]), "its name begins with Slicer"


def test_the_json_entry_is_written_as_the_index_writes_it():
    """Its lint wants each element of an array on a line of its own."""
    text = (ROOT / "MetaSSL.json").read_text(encoding="utf-8")
    assert text == json.dumps(of_json(), indent=2) + "\n"


def test_the_readme_has_what_the_reviewers_of_the_index_look_for():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    wanted = ["Modules", "Installation", "Tutorial", "Safety and privacy", "Support", "License"]
    assert [heading for heading in headings if heading in wanted] == wanted


def test_the_description_fits_on_one_line_of_cmake_and_s4ext():
    """CMake would cut it at a semicolon, the s4ext reader at the line's end; people expect one or two sentences."""
    description = of_cmake()["description"]
    assert not set(description) & set(';"$\\#\n')
    assert 1 <= description.count(".") <= 2 and "  " not in description


def test_every_metadata_value_is_one_quoted_string():
    """The index reads them with such an expression; a variable or a line break inside would be invisible to it."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    keys = {key.lower() for key in re.findall(r"set\(EXTENSION_(\w+)", text)}
    assert keys - {"license_file", "readme_file"} == set(of_cmake()) - {"name"}


def test_category_and_contributors_are_those_of_the_module():
    source = (ROOT / "MetaSSLSegment/MetaSSLSegment.py").read_text(encoding="utf-8")
    assert f'"{of_cmake()["category"]}")]' in source
    assert f'contributors = ["{of_cmake()["contributors"]}"]' in source


def test_the_public_address_is_the_same_everywhere():
    """CMakeLists.txt defines it as EXTENSION_HOMEPAGE."""
    assert of_json()["scm_url"] == of_s4ext()["scmurl"] == HOMEPAGE
    right = HOMEPAGE.removeprefix("https://github.com/")
    files = [file for pattern in ("*.*", "docs/*.md", "MetaSSLSegment/**/*.*") for file in ROOT.glob(pattern)]
    texts = [file for file in files if file.suffix in {".md", ".toml", ".cff", ".txt", ".s4ext", ".json", ".py", ".ui"}]
    assert {"README.md", "pyproject.toml", "MetaSSLSegment.py"} <= {file.name for file in texts}
    wrong = [
        f"{file.relative_to(ROOT)}: write {right} instead of {found}"
        for file in texts
        for found in re.findall(
            r"(?:github|githubusercontent)\.com[/:]([\w.-]+/Slicer\w*MetaSSL\w*)", file.read_text(encoding="utf-8")
        )
        if found != right
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("url", image_urls())
def test_icon_and_screenshots_are_files_of_the_repository(url):
    assert url.startswith(FILES)
    assert (ROOT / url.removeprefix(FILES)).is_file(), "make it, or remove it from CMakeLists.txt and MetaSSL.s4ext"


@pytest.mark.parametrize("icon", ICONS)
def test_the_icons_show_the_four_regions_in_their_colours(icon):
    """After a change of colours: python Resources/draw_icon.py"""
    with Image.open(ROOT / icon) as image:
        assert (image.size, image.mode) == ((128, 128), "RGBA")
        pixels = np.asarray(image)
    for region in REGIONS:
        assert (pixels == (*region.colour, 255)).all(axis=2).sum() > 500, region.code
    assert pixels[0, 0, 3] == 0, "round corners"


def test_the_licence_and_the_readme_are_where_cmake_says():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for key, file in (("LICENSE", "LICENSE"), ("README", "README.md")):
        assert f'set(EXTENSION_{key}_FILE "${{CMAKE_CURRENT_SOURCE_DIR}}/{file}")' in text
        assert (ROOT / file).is_file()
