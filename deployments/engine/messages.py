"""Messages between a replica and the processes of its engines: pickles, each after its length.

Both ends of the socket are our own, on one machine and of one version. Knows no engine.
"""

import asyncio
import pickle
import struct
from typing import Any

_LENGTH = struct.Struct("!Q")
# A reader takes so much ahead of the message that is wanted: few wake-ups for a batch's vectors.
_AHEAD_BYTES = 2**20


async def connect(end: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams over one end of a socket pair."""
    return await asyncio.open_connection(sock=end, limit=_AHEAD_BYTES)


async def send(writer: asyncio.StreamWriter, message: object) -> None:
    """Raises ConnectionError if nobody reads any more."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    writer.writelines([_LENGTH.pack(len(body)), body])
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> Any:
    """The next message. Raises EOFError or ConnectionError once the other end is closed."""
    [length] = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))
