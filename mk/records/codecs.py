"""Checksums, compression and msgpack, each behind one door with its limits.

Everything slow to import is imported where it is first used: a plain `mk produce` needs the checksum alone.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

NONE, GZIP, LZ4, ZSTD = 0, 1, 3, 4  # Kafka's numbers; 2 is its snappy

CODEC_NAMES = {"none": NONE, "gzip": GZIP, "lz4": LZ4, "zstd": ZSTD}

MAX_RAW_BYTES = 64 << 20
"""Bound on a payload before compression: what one batch may cost a reader in memory."""

MAX_RATIO = 1000
"""Bound on raw : compressed. gzip reaches it on constant input, zstd too; a bomb goes beyond."""

GZIP_LEVEL = 1
"""134 MB/s of source text and 172 of a log, at 28 and 26 % of their size. Level 4 comes to 24 % at 87 and 103 MB/s, level 6,
which gzip(1) takes, to 23 and 21 % at 40 and 51: not for somebody who waits."""

LZ4_LEVEL = 0
"""562 MB/s of source text and 813 of a log, at 37 % of their size. Level 3, the first that searches longer, comes to 29 %
at 99 and 128 MB/s, and there zstd is smaller and faster."""

ZSTD_LEVEL = 1
"""169 MB/s against 108 of level 3, for 6 % more space: a log is written by somebody who waits."""

LARGE_BYTES = 1 << 20
"""Of what is larger there is no copy more than it takes."""

_MAX_STREAM_ARRAY = 1 << 20

_SCALARS = (str, bytes, int, bool, type(None))

_GZIP_MEMBER = 31
"""What zlib calls wbits: a window of 32 KiB, with gzip's header and trailer."""

_NAMES = {codec: name for name, codec in CODEC_NAMES.items()}


def _load_crc32c() -> Callable[..., int]:
    """Load the compiled core of the crc32c package without running the package's own `__init__`.

    That one imports importlib.metadata, only to learn its version, and costs 40 ms: four times a start of Python.
    """
    # As importlib.machinery has it, which loads two more modules to say so.
    from _frozen_importlib_external import PathFinder

    package = PathFinder.find_spec("crc32c")
    if package is not None:
        spec = PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations)
        if spec is not None and spec.loader is not None:
            module = spec.loader.create_module(spec)
            if module is not None:
                spec.loader.exec_module(module)
                compiled: Callable[..., int] = module.crc32c
                return compiled
    from crc32c import crc32c

    return crc32c


crc32c = _load_crc32c()
"""crc32c(data, crc=0) -> int: CRC-32C of bytes-like `data`, continued from `crc`. Releases the GIL; 15 GB/s."""


class CodecError(ValueError):
    """A payload that does not decompress or unpack to what its header says."""


def compress(codec: int, data: bytes | bytearray | memoryview) -> bytes:
    """Compress one payload."""
    if codec == ZSTD:
        return bytes(_zstd().compress(data, ZSTD_LEVEL))
    if codec == LZ4:
        return bytes(_lz4().compress(data, compression_level=LZ4_LEVEL))
    if codec == GZIP:
        import zlib

        encoder = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_MEMBER)
        return encoder.compress(data) + encoder.flush()
    raise CodecError(f"codec {codec} is not known")


def decompress(codec: int, data: bytes | memoryview, raw_length: int) -> bytes:
    """Decompress one payload to exactly `raw_length` bytes; more or less than that is an error.

    Memory stays within `raw_length` and the length of `data`, each once more for what a decoder keeps aside, and its
    window, whatever `data` claims.
    """
    if raw_length > MAX_RAW_BYTES or raw_length > MAX_RATIO * max(len(data), 1):
        raise CodecError(f"{len(data)} bytes claim to hold {raw_length}")
    decoder, failures = _decoder(codec)
    try:
        # Room for one byte more: it tells what is too long, and lets a decoder come to the end of what is not.
        raw = decoder.decompress(data, raw_length + 1)
        while not decoder.eof and len(raw) <= raw_length:
            # Some stop short of what they were asked for, gzip with its input left over.
            more = decoder.decompress(getattr(decoder, "unconsumed_tail", b""), raw_length + 1 - len(raw))
            if not more:
                break
            raw += more
    except failures as error:
        raise CodecError(f"{_NAMES[codec]}: {error}") from None
    if len(raw) != raw_length or not decoder.eof or decoder.unused_data:
        raise CodecError(f"the payload does not decompress to {raw_length} bytes")
    return bytes(raw)


def _decoder(codec: int) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return a decoder of one frame, and what it raises at bytes that are none."""
    if codec == ZSTD:
        zstd = _zstd()
        return zstd.ZstdDecompressor(), (zstd.ZstdError,)
    if codec == LZ4:
        return _lz4().LZ4FrameDecompressor(), (RuntimeError, ValueError)
    if codec == GZIP:
        import zlib

        return zlib.decompressobj(_GZIP_MEMBER), (zlib.error,)
    raise CodecError(f"codec {codec} is not known")


def pack(value: object) -> bytes:
    """Encode lists of bytes, integers and None as msgpack."""
    import msgpack

    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


class ItemPacker:
    """Encodes lists of bytes, integers and None as the items of an array, which array_header() makes whole.

    Keeps its memory from one list to the next, unless that is large: the system would have to clear it again each time.
    """

    __slots__ = ("_pack",)

    def __init__(self) -> None:
        self._renew()

    def pack(self, items: Sequence[object]) -> memoryview:
        packed = memoryview(self._pack(items))[len(array_header(len(items))) :]
        if len(packed) > LARGE_BYTES:
            self._renew()
        return packed

    def _renew(self) -> None:
        import msgpack

        self._pack: Callable[[object], bytes] = msgpack.Packer(use_bin_type=True).pack


def array_header(length: int) -> bytes:
    """Return what stands in msgpack before so many items, and makes them one array."""
    if length < 16:
        return bytes((0x90 | length,))
    return b"\xdc" + length.to_bytes(2, "big") if length < 1 << 16 else b"\xdd" + length.to_bytes(4, "big")


def unpack(data: bytes | memoryview) -> object:
    """Decode msgpack made of lists, bytes, integers and None.

    Lengths are bounded by the input itself, since msgpack refuses an array longer than the bytes that follow. Maps and
    extension types have no place in a payload and are refused.
    """
    import msgpack

    try:
        unpacked: object = msgpack.unpackb(data, raw=False, use_list=True, max_map_len=0, max_ext_len=0, max_str_len=0)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CodecError(f"msgpack: {error}") from None
    return unpacked


def pack_each(values: Iterable[object]) -> bytes:
    """Encode values one after another, as a stream of msgpack: tuples, text, bytes, integers and None."""
    import msgpack

    packer = msgpack.Packer(use_bin_type=True, autoreset=False)
    for value in values:
        packer.pack(value)
    packed: bytes = packer.bytes()
    return packed


def pack_scalars(values: Iterable[object]) -> bytes:
    """Encode text, bytes, integers, booleans and None one after another. Text may hold bytes that were not UTF-8."""
    import msgpack

    packer = msgpack.Packer(use_bin_type=True, autoreset=False, unicode_errors="surrogateescape")
    for value in values:
        packer.pack(value)
    packed: bytes = packer.bytes()
    return packed


def scalars(data: bytes | bytearray | memoryview) -> Iterator[object]:
    """Yield what pack_scalars encoded, each value when it is asked for: whoever checks as he goes holds no more than that.

    Arrays, maps and extension types, nested or not, have no place among them; nor has a value that is cut short. Raises
    CodecError for those.
    """
    import msgpack

    length = len(data)
    unpacker = msgpack.Unpacker(
        raw=False,
        unicode_errors="surrogateescape",
        max_buffer_size=max(length, 1),
        read_size=1,
        max_str_len=length,
        max_bin_len=length,
        max_array_len=0,
        max_map_len=0,
        max_ext_len=0,
    )
    unpacker.feed(data)
    try:
        while unpacker.tell() < length:
            value = unpacker.unpack()
            if type(value) not in _SCALARS:
                raise CodecError("msgpack: a value is no scalar")
            yield value
    except (ValueError, TypeError, MemoryError, msgpack.UnpackException) as error:
        raise CodecError(f"msgpack: {error}".removesuffix(": ")) from None


class Unpacker:
    """Decode a stream of msgpack arrays, piece by piece: of lists, bytes (text too comes as its bytes), integers and None.

    What is incomplete waits for more, at most `max_bytes` of it; nothing that is longer is taken, nor maps and extension
    types, nor an array of more than a million: a few bytes may claim any length, and nested ones would each be given room.
    """

    __slots__ = ("_fed_bytes", "_taken_bytes", "_unpacker")

    def __init__(self, max_bytes: int) -> None:
        import msgpack

        self._fed_bytes = 0
        self._taken_bytes = 0
        self._unpacker = msgpack.Unpacker(
            raw=True,
            use_list=True,
            max_buffer_size=max_bytes,
            max_bin_len=max_bytes,
            max_str_len=max_bytes,
            max_array_len=_MAX_STREAM_ARRAY,
            max_map_len=0,
            max_ext_len=0,
        )

    @property
    def waiting_bytes(self) -> int:
        """How much of what was fed is not part of a value that was taken."""
        return self._fed_bytes - self._taken_bytes

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next piece. Raises CodecError if it does not fit beside what is incomplete."""
        import msgpack

        try:
            self._unpacker.feed(data)
        except msgpack.BufferFull:
            raise CodecError("msgpack: a value is longer than any that is taken") from None
        self._fed_bytes += len(data)

    def take(self, into: list[object], most: int) -> None:
        """Append the next values that are complete, at most so many. Raises CodecError, with those before appended."""
        from itertools import islice

        import msgpack

        tell = self._unpacker.tell
        try:
            for value in islice(self._unpacker, most):
                into.append(value)
                # Each time: behind the last one it counts also what it has seen of an incomplete one.
                self._taken_bytes = tell()
        except msgpack.StackError:
            raise CodecError("msgpack: arrays are nested too deep") from None
        except msgpack.FormatError:
            raise CodecError("msgpack: a byte begins no value") from None
        except MemoryError:
            raise CodecError("msgpack: arrays claim more values than there is memory for") from None
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise CodecError(f"msgpack: {error}") from None


def _lz4() -> Any:
    from lz4 import frame

    return frame


def _zstd() -> Any:
    import sys

    zstd: Any
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
