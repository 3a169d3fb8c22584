"""Headers that promise what a file cannot hold, and grids that a file states in more than one way."""

import gzip
import os
import struct
import sys
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.data.checking import check_dataset
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.reading import UnusableCase, read_images
from volumes import grey, write

WHOLE = np.round(100 * grey(3)).astype(np.int16)
NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "8 7 6",
    "space directions": "(1,0,0) (0,1,0) (0,0,2)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(-5,6,7)",
}
META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-5 6 7",
    "ElementSpacing": "1 1 2",
    "DimSize": "8 7 6",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def nrrd(path, content=None, **changed):
    """An NRRD file; None takes a field away."""
    fields = {**NRRD, **{name.replace("_", " "): value for name, value in changed.items()}}
    text = "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None)
    path.write_bytes(f"NRRD0004\n{text}\n".encode() + (WHOLE.tobytes() if content is None else content))
    return path


def meta(path, content=None, **changed):
    """A MetaImage file; None takes a field away. The name of the data file comes last."""
    fields = {**META, **changed}
    last = fields.pop("ElementDataFile")
    text = "".join(f"{name} = {value}\n" for name, value in fields.items() if value is not None)
    text += "" if last is None else f"ElementDataFile = {last}\n"
    path.write_bytes(text.encode() + (WHOLE.tobytes() if content is None else content))
    return path


def nifti(path, array=WHOLE, **fields):
    """A NIfTI file with fields of its header changed: name=value, see ``PLACES``."""
    write(path, array, (1, 1, 2))
    packed = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    places = {"dim": ("<8h", 40), "datatype": ("<h", 70), "pixdim": ("<8f", 76), "start": ("<f", 108)}
    places |= {"codes": ("<2h", 252), "quaternion": ("<6f", 256), "matrix": ("<12f", 280), "units": ("<B", 123)}
    for name, values in fields.items():
        kind, place = places[name]
        struct.pack_into(kind, content, place, *np.ravel(values).tolist())
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def read(path, said=None):
    (image,) = read_images(Case("a", (str(path),)), None if said is None else said.append)
    return image


def refused(path):
    """Code and message of the refusal, which names the file."""
    with pytest.raises(UnusableCase) as error:
        read(path)
    assert path.name in str(error.value) and error.value.hint
    return error.value.code, str(error.value)


# ---- headers in letters


@pytest.mark.parametrize("make", [nrrd, meta])
def test_the_files_of_these_tests_are_read_without_a_word(tmp_path, make):
    said = []
    image = read(make(tmp_path / ("a.nrrd" if make is nrrd else "a.mha")), said)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), WHOLE)
    assert (image.GetSpacing(), image.GetOrigin(), said) == ((1, 1, 2), (-5, 6, 7), [])


@pytest.mark.parametrize(
    "changed",
    [
        {"dimension": "-1"},
        {"dimension": "1000000"},
        {"dimension": "4"},
        {"sizes": "8 7"},
        {"sizes": "8 7 -6"},
        {"sizes": "8 7 99999999999999999999"},
        {"sizes": "8 7 1.5"},
        {"type": "block"},
        {"type": None},
        {"endian": "middle"},
        {"encoding": "secret"},
        {"data_file": "%s%n%08d.raw 1 3 1"},
        {"data_file": "gone.raw"},
        {"space_directions": "(1,0,0) (0,1,0) (0,0,x)"},
        {"space_origin": "(nan,0,0)"},
        {"unheard of": "value"},
    ],
)
def test_an_nrrd_header_that_makes_no_sense_is_refused(tmp_path, changed):
    refused(nrrd(tmp_path / "a.nrrd", **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"NDims": "-1"},
        {"NDims": "1000000"},
        {"NDims": "three"},
        {"DimSize": "8 7"},
        {"DimSize": "8 7 -6"},
        {"DimSize": "8 7 99999999999999999999"},
        {"ElementNumberOfChannels": "2000000000"},
        {"ElementType": "MET_SOMETHING"},
        {"ElementType": None},
        {"ElementDataFile": None},
        {"ElementDataFile": "%s%n%08d.raw 1 3 1"},
        {"ElementDataFile": "gone.raw"},
        {"ElementDataFile": "LIST"},
        {"ElementSpacing": "1 1"},
        {"ElementSpacing": "1 1 nan"},
        {"HeaderSize": "-7"},
    ],
)
def test_a_metaimage_header_that_makes_no_sense_is_refused(tmp_path, changed):
    refused(meta(tmp_path / "a.mha", **changed))


@pytest.mark.parametrize("make", [nrrd, meta])
def test_what_the_header_leaves_out_is_said(tmp_path, make):
    said = []
    if make is nrrd:
        image = read(nrrd(tmp_path / "a.nrrd", space=None, space_directions=None, space_origin=None), said)
    else:
        image = read(meta(tmp_path / "a.mha", ElementSpacing=None, Offset=None, TransformMatrix=None), said)
    assert (image.GetSpacing(), image.GetOrigin()) == ((1, 1, 1), (0, 0, 0))
    (fix,) = said
    assert fix.code == "no-geometry" and "voxel spacing and position and directions; taken instead: 1 mm" in fix.message


# ---- files that are too short, too long, or changed on the way


@pytest.mark.parametrize("make", [nrrd, meta])
@pytest.mark.parametrize(("content", "what"), [(WHOLE.tobytes()[:-2], "ends before"), (b"", "ends before")])
def test_a_file_that_was_cut_off_is_refused(tmp_path, make, content, what):
    assert what in refused(make(tmp_path / ("a.nrrd" if make is nrrd else "a.mha"), content))[1]


@pytest.mark.parametrize("make", [nrrd, meta])
def test_a_file_with_more_voxels_than_promised_is_refused(tmp_path, make):
    path = make(tmp_path / ("a.nrrd" if make is nrrd else "a.mha"), WHOLE.tobytes() + WHOLE[0].tobytes())
    assert "112 bytes more than its header promises" in refused(path)[1]


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_voxels_that_cannot_be_there_are_refused_before_memory_is_taken(tmp_path, name):
    huge, tiny = "4000 4000 4000", gzip.compress(bytes(1000))
    path = tmp_path / name
    if name == "a.nii.gz":
        nifti(path, dim=(3, 4000, 4000, 4000, 1, 1, 1, 1))
    elif name == "a.nrrd":
        nrrd(path, tiny, sizes=huge, encoding="gzip")
    else:
        meta(path, zlib.compress(bytes(1000)), DimSize=huge, CompressedData="True")
    assert "promises more voxels than it can hold" in refused(path)[1]


def every_bit(content, begin, count=60):
    """The content with one bit flipped, at places all over what is packed."""
    for place in np.linspace(begin, len(content) - 1, count).astype(int):
        changed = bytearray(content)
        changed[place] ^= 4
        yield int(place), bytes(changed)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_no_flipped_bit_changes_a_voxel_without_a_word(tmp_path, name):
    path = tmp_path / name
    image = sitk.GetImageFromArray(WHOLE)
    sitk.WriteImage(image, str(path), useCompression=True)
    content = path.read_bytes()
    begin = {"a.nrrd": content.find(b"\n\n") + 12, "a.mha": content.find(b"LOCAL\n") + 6}
    refusals = 0
    for _, changed in every_bit(content, begin.get(name, 10)):
        path.write_bytes(changed)
        try:
            found = read(path)
        except UnusableCase as error:
            assert path.name in str(error)
            refusals += 1
        else:
            np.testing.assert_array_equal(sitk.GetArrayFromImage(found), WHOLE)
            assert found.GetSpacing() == (1, 1, 1)
    assert refusals >= 50


def test_scaled_integers_are_held_against_their_checksum(tmp_path):
    large = np.round(100 * grey(1, (60, 100, 100))).astype(np.int16)
    path = nifti(tmp_path / "a.nii.gz", large)
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<2f", content, 112, 0.5, -3)  # slope and intercept
    path.write_bytes(gzip.compress(content))
    np.testing.assert_allclose(sitk.GetArrayFromImage(read(path)), large * 0.5 - 3)
    packed = bytearray(path.read_bytes())
    packed[-8] ^= 1  # of the checksum
    path.write_bytes(packed)
    assert "do not fit their checksum" in refused(path)[1]


# ---- what is no file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.nrrd")
    assert refused(tmp_path / "a.nrrd")[0] == "not-a-file"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_that_lead_nowhere_are_named(tmp_path):
    (tmp_path / "a.nrrd").symlink_to("b.nrrd")
    assert refused(tmp_path / "a.nrrd")[0] in ("link", "missing-file")
    (tmp_path / "b.nrrd").symlink_to("a.nrrd")
    assert refused(tmp_path / "b.nrrd")[0] == "link"


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is forbidden")
def test_missing_permission_is_said(tmp_path):
    path = nrrd(tmp_path / "a.nrrd")
    path.chmod(0)
    assert refused(path)[0] == "no-permission"


def test_one_bad_file_leaves_out_its_case_only(tmp_path):
    label = np.zeros(WHOLE.shape, np.uint8)
    label[2:4, 2:4, 2:4] = 1
    annotation = str(write(tmp_path / "label.nrrd", label))
    good = Case("good", (str(write(tmp_path / "good.nrrd", grey(1))),), annotation, "labelled")
    bad = [Case("sizes", (str(nrrd(tmp_path / "sizes.nrrd", sizes="8 7 -6")),))]
    bad += [
        Case("axes", (str(meta(tmp_path / "axes.mha", NDims="1000000")),)),
        Case("gone", (str(tmp_path / "no.nii"),)),
    ]
    report = check_dataset(Dataset("d", ("MR",), (SegmentClass("x", 1, (1, 1, 1)),), (*bad, good)))
    assert report.excluded == ["sizes", "axes", "gone"] and [m.case.id for m in report.measured] == ["good"]


# ---- spacings and origins that cannot be


@pytest.mark.parametrize(("spacing", "shown"), [("1e-30 1 1", "1e-30 x 1 x 1"), ("1 1 10000", "1 x 1 x 10000")])
def test_voxels_of_no_size_or_of_ten_metres_are_a_finding(tmp_path, spacing, shown):
    code, message = refused(meta(tmp_path / "a.mha", ElementSpacing=spacing))
    assert code == "spacing" and shown in message


def test_an_origin_a_kilometre_away_is_a_finding(tmp_path):
    assert refused(meta(tmp_path / "a.mha", Offset="1e6 0 0"))[0] == "origin"


# ---- NIfTI's two grids


def matrix_of(direction, spacing=(1, 1, 2), origin=(5, -6, 7)):
    """The rows of the header's matrix: directions (LPS) and origin (LPS) in the file's own axes."""
    return np.diag((-1, -1, 1)) @ np.column_stack([np.asarray(direction) * spacing, origin])


def turned(angle):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("decimals", [3, 4, 7])
def test_a_rounded_matrix_is_read_where_it_lies(tmp_path, name, decimals):
    direction = turned(33).round(decimals)
    image = read(nifti(tmp_path / name, codes=(0, 1), matrix=matrix_of(direction)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), WHOLE)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), turned(33), atol=1e-3)
    np.testing.assert_allclose(image.GetOrigin(), (5, -6, 7), atol=1e-5)
    np.testing.assert_allclose(image.GetSpacing(), (1, 1, 2), rtol=1e-3)


def test_a_matrix_in_the_scanner_counts_more_than_a_quaternion(tmp_path):
    path = nifti(tmp_path / "a.nii", codes=(1, 1), matrix=matrix_of(turned(33)), quaternion=(0, 0, 0, 0, 0, 0))
    np.testing.assert_allclose(np.reshape(read(path).GetDirection(), (3, 3)), turned(33), atol=1e-5)


def test_a_sheared_matrix_is_refused_for_what_it_is(tmp_path):
    direction = turned(0)
    direction[:, 2] = np.sin(np.radians(10)), 0, np.cos(np.radians(10))
    code, message = refused(nifti(tmp_path / "a.nii.gz", codes=(0, 1), matrix=matrix_of(direction)))
    assert code == "shear" and "right angles" in message and "damaged" not in message


def test_a_sheared_matrix_after_an_alignment_gives_way_to_the_scanner_s_quaternion(tmp_path):
    direction = turned(0)
    direction[:, 2] = np.sin(np.radians(10)), 0, np.cos(np.radians(10))
    path = nifti(tmp_path / "a.nii", codes=(1, 4), matrix=matrix_of(direction), quaternion=(0, 0, 0, 1, 2, 3))
    image = read(path)
    np.testing.assert_allclose(np.abs(np.reshape(image.GetDirection(), (3, 3))), np.eye(3), atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), (-1, -2, 3), atol=1e-6)


def test_two_spacings_in_one_header_are_a_contradiction(tmp_path):
    code, message = refused(nifti(tmp_path / "a.nii", codes=(0, 1), matrix=matrix_of(turned(0), (1, 1, 3))))
    assert code == "spacing" and "1 x 1 x 2 mm, by its matrix 1 x 1 x 3 mm" in message


def test_a_nifti_file_without_a_grid_is_said(tmp_path):
    said = []
    read(nifti(tmp_path / "a.nii", codes=(0, 0)), said)
    assert [fix.code for fix in said] == ["no-geometry"] and "position and directions" in said[0].message


@pytest.mark.parametrize(
    "fields", [{"dim": (9, 8, 7, 6, 1, 1, 1, 1)}, {"dim": (3, 8, 7, -6, 1, 1, 1, 1)}, {"datatype": 77}, {"start": 1e30}]
)
def test_a_nifti_header_that_makes_no_sense_is_refused(tmp_path, fields):
    refused(nifti(tmp_path / "a.nii", **fields))
