"""Threads by what is granted, told by control groups as Linux writes them (cgroups(7))."""

import os

import pytest

from inference.quota import usable_cpus

V2 = "30 23 0:27 / {mount} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 / {mount} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
MEMORY = "35 31 0:32 / {mount} rw,relatime - cgroup cgroup rw,memory\n"


@pytest.fixture
def many(monkeypatch):
    """A machine of 64 CPUs, of which we may use every one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


@pytest.fixture
def groups(tmp_path):
    """Writes ``cgroup``, ``mountinfo`` and the files of groups; gives the folder of the former."""

    def write(cgroup, mountinfo, files):
        mount = tmp_path / "control groups"
        mount.mkdir()
        (tmp_path / "cgroup").write_text(cgroup)
        (tmp_path / "mountinfo").write_text(
            mountinfo.format(mount=str(mount).replace(" ", "\\040"))
        )
        for name, content in files.items():
            path = mount / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("told", "cpus"),
    [
        ("400000 100000\n", 4),
        ("150000 100000\n", 2),
        ("25000 50000\n", 1),
        ("1000 100000\n", 1),
        ("max 100000\n", 64),
        ("12800000 100000\n", 64),
        ("nonsense\n", 64),
        ("100000 0\n", 64),
    ],
)
@pytest.mark.usefixtures("many")
def test_a_quota_of_version_2_is_quota_over_period_rounded_up(groups, told, cpus):
    """150000 of 100000 us are 1.5 CPUs, which two threads can use up."""
    proc = groups("0::/\n", V2, {"cpu.max": told})

    assert usable_cpus(proc) == cpus


@pytest.mark.usefixtures("many")
def test_the_smallest_quota_on_the_way_to_the_root_holds(groups):
    proc = groups(
        "0::/work.slice/node.service\n",
        V2,
        {
            "work.slice/cpu.max": "200000 100000\n",
            "work.slice/node.service/cpu.max": "800000 100000\n",
            "work.slice/other.service/cpu.max": "100000 100000\n",
        },
    )

    assert usable_cpus(proc) == 2


@pytest.mark.usefixtures("many")
def test_version_1_has_quota_and_period_in_two_files(groups):
    proc = groups(
        "4:memory:/a\n3:cpu,cpuacct:/a\n",
        V1,
        {"a/cpu.cfs_quota_us": "300000\n", "a/cpu.cfs_period_us": "100000\n"},
    )

    assert usable_cpus(proc) == 3


@pytest.mark.usefixtures("many")
def test_minus_one_is_no_quota_in_version_1(groups):
    proc = groups("3:cpu:/\n", V1, {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"})

    assert usable_cpus(proc) == 64


@pytest.mark.usefixtures("many")
def test_a_container_that_sees_only_its_own_group_finds_it_at_the_mount(groups):
    """Docker with version 1 tells the host's path and mounts the group itself."""
    proc = groups(
        "3:cpu:/docker/0123abcd\n",
        V1,
        {"cpu.cfs_quota_us": "200000\n", "cpu.cfs_period_us": "100000\n"},
    )

    assert usable_cpus(proc) == 2


@pytest.mark.usefixtures("many")
def test_the_quota_of_another_controller_is_none_on_cpus(groups):
    proc = groups("4:memory:/\n", MEMORY, {"cpu.max": "100000 100000\n"})

    assert usable_cpus(proc) == 64


@pytest.mark.usefixtures("many")
def test_without_control_groups_affinity_alone_counts(tmp_path):
    assert usable_cpus(tmp_path) == 64


def test_this_machine_grants_at_least_one_and_no_more_than_affinity():
    assert 1 <= usable_cpus() <= len(os.sched_getaffinity(0))
