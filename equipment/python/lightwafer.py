"""Classifies wafer maps on a LightWafer board: a client in one file.

Needs `pyserial` and `cobs` from PyPI. Written from docs/serial-protocol.md.

    board = Board("/dev/ttyUSB0")
    result = board.classify([[0, 1, 0], [1, 2, 1], [0, 1, 0]])
    print(result.label, max(result.scores), len(result.mask))

On the command line: python3 lightwafer.py PORT MAP.csv
"""

import csv
import json
import random
import sys
import time
import zlib
from dataclasses import dataclass

import serial
from cobs import cobs

CLASSES = (
    "Normal C D EL ER L NF S R C+EL C+ER C+L C+S D+EL D+ER D+L D+S EL+L EL+S ER+L ER+S L+S C+EL+L C+EL+S "
    "C+ER+L C+ER+S C+L+S D+EL+L D+EL+S D+ER+L D+ER+S D+L+S EL+L+S ER+L+S C+EL+L+S C+ER+L+S D+EL+L+S D+ER+L+S"
).split()
ERRORS = (
    "Truncated Oversized Corrupted Malformed Overrun Protocol Grid UnknownWafer Gap Conflict Incomplete MapCrc Dies "
    "NotRun Row Engine Unsupported NoKey Block Key Signature Version Size NoTransfer Digest Model Arena SelfTest "
    "NoOther Flash"
).split()
RESETS = "PowerOn External Software Watchdog Panic Fault".split()
ERROR_REPLY = 5
CHUNK = 512


class BoardError(Exception):
    """The board does not answer, refuses, or contradicts itself."""


class Silent(BoardError):
    """The board does not answer."""


class Lost(BoardError):
    """The board lost the wafer twice. `resets`: why the board last started, each time."""

    def __init__(self, rows, cols, resets):
        super().__init__(f"the board lost the wafer of {rows}x{cols} dies {len(resets)} times ({', '.join(resets)})")
        self.resets = resets


class Refused(BoardError):
    """The board answered with an error. docs/serial-protocol.md lists the numbers."""

    def __init__(self, number, fields):
        name = ERRORS[number] if number < len(ERRORS) else f"error {number}"
        super().__init__(f"the board refused: {name} {fields or ''}".rstrip())
        self.number, self.name, self.fields = number, name, fields


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def blob(data):
    return varint(len(data)) + data


def frame(payload):
    return b"\0" + cobs.encode(payload + zlib.crc32(payload).to_bytes(4, "little")) + b"\0"


def unframe(coded):
    """The payload of the bytes between two zeros; None if they are damaged."""
    try:
        body = cobs.decode(coded)
    except cobs.DecodeError:
        return None
    payload, crc = body[:-4], body[-4:]
    return payload if payload and zlib.crc32(payload).to_bytes(4, "little") == crc else None


class Reader:
    """Takes values from a payload; raises ValueError if it ends early."""

    def __init__(self, payload):
        self.payload, self.at = payload, 0

    def take(self, count):
        if self.at + count > len(self.payload):
            raise ValueError("the payload ends early")
        self.at += count
        return self.payload[self.at - count : self.at]

    def uint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number too long")

    def int(self):
        value = self.uint()
        return value >> 1 if value & 1 == 0 else -(value + 1 >> 1)

    def bytes(self):
        return self.take(self.uint())

    def text(self):
        return self.bytes().decode()

    def option(self, item):
        return item() if self.take(1)[0] else None

    def list(self, item):
        return [item() for _ in range(self.uint())]

    def rest(self):
        return self.payload[self.at :]

    def end(self):
        if self.rest():
            raise ValueError("bytes behind the message")


@dataclass
class Result:
    """The answer for one wafer. `mask` has 224 rows of 224 values; 1 marks the defect pattern."""

    label: str
    number: int
    scores: list
    logits: list
    embedding: list
    mask: list
    elapsed_us: int
    instructions: int


class Board:
    """A board on a serial port. `port` is a name, or an object with read, write and reset_input_buffer."""

    def __init__(self, port, baud=115200, run_timeout=120.0):
        self.port = serial.Serial(port, baud, timeout=0.05) if isinstance(port, str) else port
        self.seq, self.wafer = random.randint(1, 65535), random.getrandbits(32)
        self.run_timeout = run_timeout
        self.facts = self.hello()

    def hello(self):
        r = self.ask(0, varint(1), 0, tries=15)
        facts = {"protocol": r.uint(), "board": r.text(), "firmware": r.text(), "max_map": r.uint()}
        facts |= {"max_chunk": r.uint(), "reset": r.uint(), "model": r.text(), "created": r.text()}
        facts |= {"parameters": r.uint(), "macs": r.uint(), "arena_bytes": r.uint(), "model_bytes": r.uint()}
        facts |= {"rounding": r.uint(), "sha256": r.take(32).hex()}
        r.end()
        return facts

    def health(self):
        r = self.ask(10, b"", 8)
        health = {"starts": [r.uint() for _ in range(6)], "version": r.uint(), "minimum": r.uint()}
        health |= {"floor": r.uint(), "limit": r.uint(), "key": r.option(lambda: r.take(8).hex())}
        health["transfer"] = r.option(lambda: (r.uint(), r.uint(), r.uint()))
        health["sha256"] = r.take(32).hex()
        r.end()
        return health

    def ask(self, request, fields, wanted, timeout=1.0, repeat=None, tries=5):
        """Sends a request until it is answered; returns a Reader after the number of the wanted reply."""
        self.seq = self.seq % 65535 + 1
        sent = frame(varint(self.seq) + varint(request) + fields)
        for _ in range(tries if repeat is None else max(1, round(timeout / repeat))):
            self.port.write(sent)
            answer = self.answer(wanted, time.monotonic() + (repeat or timeout))
            if answer:
                return answer
        raise Silent("the board does not answer")

    def answer(self, wanted, deadline):
        coded = bytearray()
        while time.monotonic() < deadline:
            for byte in self.port.read(1) + self.port.read(getattr(self.port, "in_waiting", 0)):
                if byte:
                    coded.append(byte)
                    continue
                payload, coded = unframe(bytes(coded)) if coded else None, bytearray()
                if payload is None:
                    continue
                reader = Reader(payload)
                try:
                    seq, reply = reader.uint(), reader.uint()
                    if seq == 0 and reply == ERROR_REPLY:
                        return None  # damaged on the line: send again
                    if seq == self.seq and reply == ERROR_REPLY:
                        number, fields = reader.uint(), []
                        while reader.rest():
                            fields.append(reader.uint())
                        raise Refused(number, fields)
                    if seq == self.seq and reply == wanted:
                        return reader
                except ValueError:
                    pass
        return None

    def classify(self, rows):
        """`rows`: lists of dies, 0 none, 1 pass, 2 fail. A wafer that the board loses is sent again once, then `Lost`."""
        rows, resets, contradictions = [bytes(row) for row in rows], [], 0
        while True:
            try:
                return self.attempt(rows)
            except Silent:
                pass
            except Refused as error:
                if error.name not in ("UnknownWafer", "NotRun"):
                    contradictions += 1
                    if error.name not in ("Gap", "Conflict", "Incomplete", "MapCrc") or contradictions == 5:
                        raise
                    continue
            # The board was reset, or another host talks to it. The wafer may make it hang: send it again only once.
            self.facts = self.hello()
            reset = self.facts["reset"]
            resets.append(RESETS[reset] if reset < len(RESETS) else str(reset))
            if len(resets) == 2:
                raise Lost(len(rows), len(rows[0]), resets)

    def attempt(self, rows):
        dies = b"".join(rows)
        if not rows or len(dies) != len(rows) * len(rows[0]) or max(dies, default=0) > 2:
            raise ValueError("rows of the same length, of dies 0, 1, 2, expected")
        dies += bytes(-len(dies) % 4)
        packed = bytes(a | b << 2 | c << 4 | d << 6 for a, b, c, d in zip(*[iter(dies)] * 4))
        crc = zlib.crc32(packed)
        self.wafer = (self.wafer + 1) % 2**32
        wafer = varint(self.wafer)
        self.ask(1, wafer + varint(len(rows)) + varint(len(rows[0])) + varint(crc), 1)
        for at in range(0, len(packed), CHUNK):
            self.ask(2, wafer + varint(at) + blob(packed[at : at + CHUNK]), 1)

        r = self.ask(3, wafer, 2, timeout=self.run_timeout, repeat=5.0)
        if (r.uint(), r.uint()) != (self.wafer, crc):
            raise BoardError("the report is another wafer's")
        number = r.take(1)[0]
        scores = [score / 2**24 for score in r.list(r.uint)]
        logits = [logit / 2**16 for logit in r.list(r.int)]
        embedding = r.list(lambda: (r.take(1)[0] ^ 128) - 128)
        _, mask_crc, elapsed_us = r.uint(), r.uint(), r.uint()
        instructions = r.option(r.uint)
        r.end()
        if number > 37 or len(scores) != 38 or len(logits) != 38:
            raise BoardError("not a report of 38 classes")
        mask = self.mask(wafer)
        if zlib.crc32(b"".join(mask)) != mask_crc:
            raise BoardError("the mask's CRC is wrong")
        pixels = [[byte >> bit & 1 for byte in row for bit in range(8)] for row in mask]
        return Result(CLASSES[number], number, scores, logits, embedding, pixels, elapsed_us, instructions)

    def mask(self, wafer):
        mask = []
        while len(mask) < 224:
            r = self.ask(4, wafer + varint(len(mask)), 3)
            if (r.uint(), r.uint()) != (self.wafer, len(mask)):
                raise BoardError("mask rows of another wafer")
            count, data = r.uint(), Reader(r.bytes())
            if count == 0:
                raise BoardError("no mask rows")
            for _ in range(count):
                row = bytearray()
                while len(row) < 28:
                    token = data.take(1)[0]
                    row += bytes(token + 1) if token < 128 else data.take(token - 127)
                above = mask[-1] if mask else bytes(28)
                mask.append(bytes(a ^ b for a, b in zip(row, above, strict=True)))
            data.end()
        return mask


def main():
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} PORT MAP.csv")
    with open(sys.argv[2], newline="") as file:
        rows = [[int(die) for die in row] for row in csv.reader(file) if row]
    board = Board(sys.argv[1])
    result = board.classify(rows)
    answer = {"board": board.facts["board"], "class": result.number, "label": result.label}
    answer |= {"scores": result.scores, "logits": result.logits, "mask": sum(map(sum, result.mask))}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
