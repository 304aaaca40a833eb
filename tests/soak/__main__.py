"""python -m tests.soak: prints the books and writes soak.json.

For DURATION_S seconds (600) from SEED (0), RATE records a second (60), READERS reader processes (0). DIRT names what
else is sent, such as ``bad_clocks,foreign``, or ``all`` (none): see `tests/soak/dirt.py`.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.soak.dirt import KINDS, Kind
from tests.soak.soak import RECORDS_PER_S, soak, write

if __name__ == "__main__":
    console = Console()
    began = time.monotonic()

    def report(text: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f} s  {text}", highlight=False)

    with tempfile.TemporaryDirectory(prefix="gauge-soak-") as folder:
        duration_s, seed = float(os.environ.get("DURATION_S", "600")), int(os.environ.get("SEED", "0"))
        rate = float(os.environ.get("RATE", RECORDS_PER_S))
        readers = int(os.environ.get("READERS", "0"))
        named = os.environ.get("DIRT", "")
        dirt: list[Kind] = [kind for kind in KINDS if named == "all" or kind in named.split(",")]
        ledger = soak(Path(folder), duration_s, seed, report, records_per_s=rate, readers=readers, dirt=dirt)
    write(ledger, Path("soak.json"))
    table = Table("what", "count")
    table.columns[1].justify = "right"
    for name, value in ledger.as_json().items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)
    sys.exit(1 if ledger.violations or ledger.lost or ledger.doubled else 0)
