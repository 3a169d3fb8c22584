"""How long the command and the module take to appear: medians over fresh processes.

    python Testing/Benchmarks/startup.py [--repeats 5] [--table docs/benchmarks.md]

The module is opened on the harness (Testing/Module/harness), after Slicer's own libraries were imported.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from accuracy import machine, put_between_marks

MARK = "<!-- startup table -->"
ROOT = Path(__file__).parents[2]
OPEN = """
import sys, time
sys.path.insert(0, sys.argv[1])
from harness import minislicer
minislicer.bootstrap()
from harness.module_loading import openModule
begin = time.perf_counter()
panel = openModule(sys.argv[2])
print(time.perf_counter() - begin)
panel.close()
"""


def help_seconds() -> float:
    """Seconds of `metassl --help`."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "metassl", "--help"], check=True, capture_output=True)
    return time.perf_counter() - begin


def module_seconds() -> float:
    """Seconds to create the module's panel, `setup()` included."""
    command = [sys.executable, "-c", OPEN, ROOT / "Testing" / "Module", ROOT / "MetaSSLSegment" / "MetaSSLSegment.py"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(run.stdout.split()[-1])


def main() -> None:
    """Measure, write the JSON and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/startup.json"))
    parser.add_argument("--table", type=Path, help="document whose table is replaced")
    args = parser.parse_args()
    times = [(help_seconds(), module_seconds()) for _ in range(args.repeats)]
    command, module = (statistics.median(column) for column in zip(*times))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(), "repeats": args.repeats, "metassl --help": command, "module": module}
    args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    text = (
        f"{machine()}, medians of {args.repeats}\n\n| | seconds | target |\n|---|---|---|\n"
        f"| `metassl --help` | {command:.2f} | 0.5 |\n| opening the module's panel | {module:.2f} | 0.3 |"
    )
    print(text)
    if args.table:
        put_between_marks(args.table, MARK, text)


if __name__ == "__main__":
    main()
