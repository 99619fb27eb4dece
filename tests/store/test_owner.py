"""Workers of this machine are known by name, and dead ones are recognised."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from kneo_serv.model.ids import Owner
from kneo_serv.store.sqlite import is_dead, local_owner
from kneo_serv.store.sqlite.faults import file_system_type

PRINT_OWNER = "from kneo_serv.store.sqlite import local_owner; print(local_owner(), flush=True)"


def test_an_owner_is_named_by_host_and_process() -> None:
    owner = local_owner()
    assert owner.startswith(f"{socket.gethostname()}:")
    assert owner.split(":")[2] == str(os.getpid())


def test_two_platforms_in_one_process_are_two_owners() -> None:
    assert local_owner() != local_owner()


def test_a_living_process_is_not_dead() -> None:
    assert not is_dead(local_owner())
    program = f"{PRINT_OWNER}; input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        owner = Owner(process.stdout.readline().strip())
        assert not is_dead(owner)
        process.kill()
        process.wait()
        assert is_dead(owner)


def test_another_process_with_the_same_number_is_not_mistaken() -> None:
    host, boot, pid, _, random = local_owner().split(":")
    assert is_dead(":".join((host, boot, pid, "1", random)))


def test_nothing_from_before_a_restart_lives() -> None:
    host, _, pid, start, random = local_owner().split(":")
    assert is_dead(":".join((host, "another-boot", pid, start, random)))


def test_of_other_machines_nothing_is_known() -> None:
    assert not is_dead("elsewhere:boot:1:1:x")
    assert not is_dead("somebody")


def test_the_file_system_of_a_folder_is_the_innermost_mount() -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:40 / /srv/my\\040share rw - nfs4 server:/share rw\n"
        "3 2 0:41 / /srv/my\\040share/local rw - ext4 /dev/sdb1 rw\n"
    )
    assert file_system_type(Path("/srv/data"), mounts) == "ext4"
    assert file_system_type(Path("/srv/my share/runs"), mounts) == "nfs4"
    assert file_system_type(Path("/srv/my share/local/runs"), mounts) == "ext4"
    assert file_system_type(Path("/srv/my share2"), mounts) == "ext4"
