"""Point clouds on disk: binary PLY with any extra columns.

    write_ply("room.ply", xyz, rgb, {"label": labels, "relevancy": scores})
    columns = read_ply("room.ply")

Open3D, MeshLab and CloudCompare read position and colour; the extra columns become scalar fields.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8

_TYPES = {
    "float32": "float",
    "float64": "double",
    "uint8": "uchar",
    "int8": "char",
    "uint16": "ushort",
    "int16": "short",
    "uint32": "uint",
    "int32": "int",
}
_DTYPES = {ply: dtype for dtype, ply in _TYPES.items()}


def write_ply(
    path: str | Path,
    xyz: Float[np.ndarray, "n 3"],
    rgb: UInt8[np.ndarray, "n 3"],
    extra: Mapping[str, Shaped[np.ndarray, "n"]] | None = None,
    comments: tuple[str, ...] = (),
) -> None:
    """Write a cloud.

    Args:
        path: file to write.
        xyz: positions, metres, stored as float32.
        rgb: colours, 0..255.
        extra: further columns by name; names are made safe for the format.
        comments: lines for the header.

    Raises:
        ValueError: a column is of a type that PLY does not have.
    """
    columns = [(axis, xyz[:, i].astype(np.float32)) for i, axis in enumerate("xyz")]
    columns += [(name, rgb[:, i]) for i, name in enumerate(("red", "green", "blue"))]
    columns += [(_safe(name), np.asarray(values)) for name, values in (extra or {}).items()]
    unknown = [f"{name} ({v.dtype})" for name, v in columns if v.dtype.name not in _TYPES]
    if unknown:
        raise ValueError(f"PLY has no type for the columns {', '.join(unknown)}")
    dtype = [(name, values.dtype.newbyteorder("<")) for name, values in columns]
    table = np.empty(len(xyz), dtype=dtype)
    for name, values in columns:
        table[name] = values
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {' '.join(line.split())}" for line in comments]
    header += [f"element vertex {len(xyz)}"]
    header += [f"property {_TYPES[values.dtype.name]} {name}" for name, values in columns]
    header += ["end_header", ""]
    with open(path, "wb") as file:
        file.write("\n".join(header).encode("utf-8", "replace"))
        file.write(table.tobytes())


def read_ply(path: str | Path) -> dict[str, np.ndarray]:
    """Read the vertex columns of a PLY that `write_ply` wrote.

    Raises:
        ValueError: the file is no binary little-endian PLY, or shorter than its header says.
    """
    content = Path(path).read_bytes()
    end = content.find(b"end_header\n")
    if not content.startswith(b"ply\nformat binary_little_endian") or end < 0:
        raise ValueError(f"{path} is not a binary little-endian PLY file")
    count, fields = 0, []
    for line in content[:end].decode("utf-8", "replace").splitlines():
        words = line.split()
        if words[:2] == ["element", "vertex"]:
            count = int(words[2])
        elif words[:1] == ["property"]:
            fields.append((words[2], np.dtype(_DTYPES[words[1]]).newbyteorder("<")))
    dtype = np.dtype(fields)
    body = content[end + len(b"end_header\n") :]
    if len(body) < count * dtype.itemsize:
        raise ValueError(f"{path} is cut off: {len(body)} bytes for {count} points")
    table = np.frombuffer(body, dtype=dtype, count=count)
    return {name: table[name].copy() for name, _ in fields}


def _safe(name: str) -> str:
    safe = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)
    return safe or "column"
