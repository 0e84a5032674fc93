"""How does an ONNX file look in bytes? As little of it as the tests need."""

from __future__ import annotations


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def tensor(location: str | None = None) -> bytes:
    """A TensorProto with its values inside, or in a file."""
    head = whole(1, 3) + whole(2, 1) + field(8, b"weight")
    if location is None:
        return head + field(9, b"\0" * 12)
    entries = {"location": location, "offset": "0", "length": "12"}
    told = b"".join(
        field(13, field(1, key.encode()) + field(2, value.encode()))
        for key, value in entries.items()
    )
    return head + told + whole(14, 1)


def graph(*parts: bytes) -> bytes:
    return field(2, b"g") + b"".join(parts)


def model(content: bytes) -> bytes:
    """A ModelProto of a graph."""
    return whole(1, 10) + field(2, b"test") + field(7, content)
