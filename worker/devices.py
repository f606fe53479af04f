"""Which devices a node has, and the kernel's locks that say who holds them.

One file per node, one byte per device, locked through an open file description (``F_OFD_SETLK``): the lock belongs to the open
file, not to a process, and goes when its last copy is closed. That copy is the standard input of the attempt's tree, so a
device is free exactly when nothing of the attempt is left. The file is never unlinked or replaced: that would split the locks.
"""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import pynvml  # type: ignore[import-untyped]  # NVIDIA ships no types

F_OFD_GETLK, F_OFD_SETLK = 36, 37
_FLOCK = struct.Struct("hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid of a 64-bit Linux
NETWORK_FILE_SYSTEMS = {0x6969: "NFS", 0xFF534D42: "CIFS", 0xFE534D42: "SMB2", 0x517B: "SMB"}


class UnsafeLockFile(Exception):
    """The lock file cannot be trusted to lock."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, or a slot for one rank on a node without GPUs."""

    index: int
    name: str
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceInventory:
    """The devices of this node."""

    kind: Literal["cpu", "cuda"]
    devices: tuple[Device, ...]

    @classmethod
    def of_cpu(cls, num_slots: int) -> Self:
        return cls("cpu", tuple(Device(index, f"CPU slot {index}") for index in range(num_slots)))

    @classmethod
    def of_gpus(cls) -> Self | None:
        """The NVIDIA GPUs in the order of their PCI bus ids; None on a node without any, or without their driver."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return None
        try:
            devices = tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
        finally:
            pynvml.nvmlShutdown()
        return cls("cuda", devices) if devices else None

    @classmethod
    def discover(cls, accelerator: Literal["auto", "cpu", "cuda"], cpu_slots: int) -> Self:
        """What this node offers. LookupError when ``cuda`` is demanded and there is no GPU."""
        gpus = None if accelerator == "cpu" else cls.of_gpus()
        if gpus is not None:
            return gpus
        if accelerator == "cuda":
            raise LookupError("this node was told to use GPUs, and has none that its driver shows")
        return cls.of_cpu(cpu_slots)


def _gpu(index: int) -> Device:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Device(index, str(pynvml.nvmlDeviceGetName(handle)), _memory_bytes(handle))


def _memory_bytes(handle: object) -> int | None:
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError_NotSupported:
        return None  # a GPU that shares the host's memory


@dataclass(slots=True)
class Reservation:
    """Locked devices, and the open file that holds the locks. They are free when every copy of ``fd`` is closed."""

    devices: tuple[int, ...]
    fd: int
    _is_closed: bool = field(default=False, repr=False)

    def shrink_to(self, devices: Iterable[int]) -> None:
        """Unlocks all but ``devices``. ValueError when one of them is not locked here."""
        kept = tuple(sorted(devices))
        if strangers := set(kept) - set(self.devices):
            raise ValueError(f"devices {sorted(strangers)} are not reserved here")
        for device in set(self.devices) - set(kept):
            _lock(self.fd, device, fcntl.F_UNLCK)
        self.devices = kept

    def close(self) -> None:
        """Closes this copy; the locks stay while a launched tree has another."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def reserve_free(lock_path: Path, num_devices: int, *, wanted: int | None = None) -> Reservation:
    """Locks what is free of the node's ``num_devices``, at most ``wanted`` of them; never waits.

    The reservation may hold fewer than wanted, or none. UnsafeLockFile when the file lies on a network file system.
    """
    reservation = Reservation((), _open(lock_path))
    try:
        for device in range(num_devices):
            if len(reservation.devices) == wanted:
                break
            if _lock(reservation.fd, device, fcntl.F_WRLCK):
                reservation.devices += (device,)
    except BaseException:
        reservation.close()
        raise
    return reservation


def adopt(fd: int, devices: Iterable[int]) -> Reservation:
    """A reservation that another process has made and handed on. ValueError when its open file does not hold these locks."""
    reservation = Reservation(tuple(sorted(devices)), fd)
    for device in reservation.devices:
        # To its own open file a lock is invisible, so taking it again succeeds, and it must: then nobody else has it.
        if not _lock(fd, device, fcntl.F_WRLCK):
            raise ValueError(f"device {device} is held by another open file")
    return reservation


def busy(lock_path: Path, num_devices: int) -> set[int]:
    """The devices that somebody holds at this moment."""
    fd = _open(lock_path)
    try:
        return {device for device in range(num_devices) if _is_held(fd, device)}
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if (name := NETWORK_FILE_SYSTEMS.get(_file_system(fd))) is not None:
            raise UnsafeLockFile(f"{path} lies on {name}; the locks of devices need a local file system")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _file_system(fd: int) -> int:
    """The magic number of the file system (statfs(2)); Python's statvfs does not tell it."""
    buffer = (ctypes.c_long * 64)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fstatfs(fd, ctypes.byref(buffer)) != 0:
        raise OSError(ctypes.get_errno(), "fstatfs failed")
    return int(buffer[0]) & 0xFFFFFFFF


def _lock(fd: int, device: int, kind: int) -> bool:
    """Locks or unlocks one byte; False when another open file holds it."""
    try:
        fcntl.fcntl(fd, F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, device, 1, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _is_held(fd: int, device: int) -> bool:
    answer = fcntl.fcntl(fd, F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, device, 1, 0))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
