"""Devices are held by kernel locks: by open files, across processes, and by nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bed.waiting import until
from worker import devices
from worker.devices import Device, DeviceInventory, UnsafeLockFile, adopt, busy, reserve_free

RACER = """
import sys, time
from pathlib import Path
from worker.devices import reserve_free
print("up", flush=True)
sys.stdin.readline()
mine = reserve_free(Path(sys.argv[1]), 5, wanted=1)
print(*mine.devices, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "devices.lock"


def test_a_reservation_takes_what_is_free_and_never_waits(locks: Path) -> None:
    with reserve_free(locks, 4, wanted=3) as first, reserve_free(locks, 4, wanted=3) as second, reserve_free(locks, 4) as third:
        assert (first.devices, second.devices, third.devices) == ((0, 1, 2), (3,), ())
        assert busy(locks, 4) == {0, 1, 2, 3}
    assert busy(locks, 4) == set()


def test_what_was_not_granted_is_unlocked(locks: Path) -> None:
    with reserve_free(locks, 4) as reservation:
        reservation.shrink_to([2, 1])
        assert reservation.devices == (1, 2)
        assert busy(locks, 4) == {1, 2}
        with pytest.raises(ValueError, match=r"devices \[3\] are not reserved here"):
            reservation.shrink_to([1, 3])


def test_looking_at_the_locks_takes_none_and_releases_none(locks: Path) -> None:
    with reserve_free(locks, 2, wanted=1):
        assert busy(locks, 2) == busy(locks, 2) == {0}


def test_a_device_is_free_only_when_the_last_copy_of_the_open_file_is_closed(locks: Path) -> None:
    reservation = reserve_free(locks, 1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(reservation.fd,)) as holder:
        reservation.close()
        reservation.close()  # a second time is harmless
        assert busy(locks, 1) == {0}
        holder.kill()
        holder.wait()
    assert busy(locks, 1) == set()


def test_a_reservation_is_handed_on_with_its_locks(locks: Path) -> None:
    with reserve_free(locks, 3) as first, adopt(os.dup(first.fd), [2, 0]) as second:
        assert second.devices == (0, 2)
        second.shrink_to([0])
        assert busy(locks, 3) == {0, 1}  # one open file: what one copy unlocks is unlocked


def test_a_reservation_that_somebody_else_holds_is_not_adopted(locks: Path) -> None:
    with reserve_free(locks, 1), reserve_free(locks, 1) as empty, pytest.raises(ValueError, match="device 0 is held"):
        adopt(os.dup(empty.fd), [0])


def test_eight_processes_race_for_five_devices_and_each_device_has_one_holder(locks: Path) -> None:
    argv = [sys.executable, "-c", RACER, str(locks)]
    racers = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    try:
        for racer in racers:
            assert racer.stdout is not None
            racer.stdout.readline()
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        won = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
        assert sorted(won) == ["", "", "", "0", "1", "2", "3", "4"]
        assert busy(locks, 5) == {0, 1, 2, 3, 4}
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    until(lambda: not busy(locks, 5), within=5, what="the dead hold nothing")


def test_the_file_is_private_and_its_content_does_not_matter(locks: Path) -> None:
    with reserve_free(locks, 2):
        assert locks.stat().st_mode & 0o777 == 0o600
        assert locks.stat().st_size == 0


def test_a_network_file_system_is_refused(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_file_system", lambda fd: 0x6969)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(UnsafeLockFile, match="lies on NFS"):
        reserve_free(locks, 1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_kind_of_file_system_is_what_statfs_says(locks: Path) -> None:
    stat = subprocess.run(["stat", "-f", "-c", "%t", str(locks.parent)], capture_output=True, text=True, check=True)
    with reserve_free(locks, 1) as reservation:
        assert devices._file_system(reservation.fd) == int(stat.stdout, 16)


def test_a_node_without_gpus_offers_its_cpu_slots() -> None:
    assert DeviceInventory.discover("cpu", 2) == DeviceInventory("cpu", (Device(0, "CPU slot 0"), Device(1, "CPU slot 1")))


def test_a_node_that_must_have_gpus_and_has_none_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceInventory, "of_gpus", classmethod(lambda cls: None))
    assert DeviceInventory.discover("auto", 3).kind == "cpu"
    with pytest.raises(LookupError, match="has none"):
        DeviceInventory.discover("cuda", 3)
