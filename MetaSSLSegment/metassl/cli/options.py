"""The options of ``metassl train``: one for every setting of ``Job``."""

import argparse
import typing
from dataclasses import Field, fields
from types import NoneType

from ..job import Job


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option for every field of ``Job``."""
    for item in fields(Job):
        _add_setting(parser, item)


def _add_setting(parser: argparse.ArgumentParser, item: Field) -> None:
    """The option of one field of Job: its type says how many words of which kind."""
    kind = typing.get_type_hints(Job)[item.name]
    if NoneType in typing.get_args(kind):
        kind = typing.get_args(kind)[0]
    options: dict = {"type": kind}
    if typing.get_origin(kind) is tuple:
        words = typing.get_args(kind)
        options = {"type": words[0], "nargs": "+" if Ellipsis in words else len(words)}
    if item.metadata["choices"]:
        options["choices"] = item.metadata["choices"]
    else:
        options["metavar"] = {int: "N", float: "X", str: "NAME"}[options["type"]]
    default = "" if item.default in (None, ()) else f" (default {item.default})"
    parser.add_argument(
        "--" + item.name.replace("_", "-"),
        dest=item.name,
        default=argparse.SUPPRESS,
        help=item.metadata["help"] + default,
        **options,
    )
