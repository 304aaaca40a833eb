"""A new format is a module and one entry in the table of formats."""

import subprocess
import sys

TOY = """
import msgspec
from driftgauge.connectors.decoding.formats import table
from driftgauge.connectors.decoding.formats.payload import Payload, Piece, tokens_of


class Body(msgspec.Struct):
    toy_id: str
    toy_logprobs: list[float]


def read(body):
    tokens = tokens_of((logprob, "t", []) for logprob in body.toy_logprobs)
    return Payload(id=body.toy_id, pieces=[Piece(tokens=tokens)])


entry = table.Format("toy", lambda keys: "toy_logprobs" in keys, Body, read)
table.FORMATS = (entry, *table.FORMATS)
table.NAMES = ("toy", *table.NAMES)

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder

value = b'{"toy_id": "r", "toy_logprobs": [-0.5, -0.25]}'
for decoder in (Decoder(), Decoder(format="toy")):
    (event,) = decoder.decode([Record("t", 0, 0, None, value)])
    print(event.id, event.signal.chosen_logprobs.tolist())
"""


def test_a_toy_format_is_detected_and_read_by_one_entry_in_the_table() -> None:
    run = subprocess.run([sys.executable, "-c", TOY], capture_output=True, text=True, timeout=120)
    assert run.stdout.splitlines() == ["r [-0.5, -0.25]"] * 2, run.stderr
