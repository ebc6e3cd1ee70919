"""As much of the thrift compact protocol as a parquet footer needs: read it, and write it back.

A struct becomes ``{field: (wire type, value)}`` and a list ``(wire type, [values])``. Nothing is
interpreted, so what is read, changed in one place and written again keeps every other field.
"""

from __future__ import annotations

from typing import Any

#: Wire types. A boolean field has no value of its own: its type says it.
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)

Struct = dict[int, tuple[int, Any]]

#: What a damaged buffer raises here: an index behind the end, an unknown wire type, a missing
#: field, or structs inside one another without end.
DAMAGE = (IndexError, ValueError, KeyError, TypeError, RecursionError)

_DOUBLE_BYTES = 8
_LONG_LIST = 15


class Reader:
    """Reads values from `data`, from position `at` on.

    Attributes
    ----------
    at : int
        Position of the next byte.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        """Read one byte."""
        value = self.data[self.at]
        self.at += 1
        return value

    def varint(self) -> int:
        """Read an unsigned number, seven bits to a byte."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def integer(self) -> int:
        """Read a signed number (zigzag)."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self, until: int | None = None, after: int = 0) -> Struct:
        """Read a struct; with `until`, stop at the value of that field, which is not read.

        With `after`, read the rest of a struct, behind the field of that number.
        """
        fields: Struct = {}
        number = after
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.integer()
            if number == until:
                return fields
            kind = head & 0x0F
            fields[number] = (kind, kind == TRUE if kind in (TRUE, FALSE) else self.value(kind))
        return fields

    def list_head(self) -> tuple[int, int]:
        """Read the wire type and the number of the elements that follow."""
        head = self.byte()
        count = head >> 4
        return head & 0x0F, self.varint() if count == _LONG_LIST else count

    def value(self, kind: int) -> Any:
        """Read one value of a wire type, as it stands in a list."""
        if kind in (I16, I32, I64):
            return self.integer()
        if kind == BINARY:
            return self._take(self.varint())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            element, count = self.list_head()
            return element, [self.value(element) for _ in range(count)]
        if kind == DOUBLE:
            return self._take(_DOUBLE_BYTES)
        if kind in (BYTE, TRUE, FALSE):
            return self.byte()
        raise ValueError(f"wire type {kind}")

    def _take(self, length: int) -> bytes:
        taken = self.data[self.at : self.at + length]
        if len(taken) < length:
            raise IndexError("the end of the buffer")
        self.at += length
        return taken


def encode(kind: int, value: Any) -> bytes:
    """Write one value of a wire type, as `Reader.value` reads it."""
    if kind in (I16, I32, I64):
        return _varint((value << 1) ^ (value >> 63))
    if kind == BINARY:
        return _varint(len(value)) + bytes(value)
    if kind == STRUCT:
        return _encode_struct(value)
    if kind in (LIST, SET):
        element, values = value
        count = len(values)
        head = bytes([min(count, _LONG_LIST) << 4 | element])
        if count >= _LONG_LIST:
            head += _varint(count)
        return head + b"".join(encode(element, item) for item in values)
    if kind == DOUBLE:
        return bytes(value)
    if kind in (BYTE, TRUE, FALSE):
        return bytes([value])
    raise ValueError(f"wire type {kind}")


def _encode_struct(fields: Struct) -> bytes:
    out = bytearray()
    last = 0
    for number, (kind, value) in sorted(fields.items()):
        step = number - last
        last = number
        if kind in (TRUE, FALSE):
            kind = TRUE if value else FALSE
        if 0 < step < _LONG_LIST + 1:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            out += encode(I16, number)
        if kind not in (TRUE, FALSE):
            out += encode(kind, value)
    out.append(0)
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
