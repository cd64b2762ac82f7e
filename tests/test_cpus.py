"""How many CPUs this process may use (`ortx/cpus.py`): the affinity mask and the container's quota."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path

import models
import pytest

from ortx import cpus

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="needs os.sched_getaffinity, which this system lacks"
)


def make_files(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.fsencode(content))
    return root


# --- the quota: what /proc says of the process, what lies in its groups' folders, how many CPUs that is

NO_LIMIT = math.inf

VERSION_2 = {
    "one group": ("0::/app\n", {"app/cpu.max": "150000 100000\n"}, 1.5),
    "less than one CPU": ("0::/app\n", {"app/cpu.max": "5000 100000\n"}, 0.05),
    "another period": ("0::/app\n", {"app/cpu.max": "50000 20000\n"}, 2.5),
    "max": ("0::/app\n", {"app/cpu.max": "max 100000\n"}, NO_LIMIT),
    "parent has less": (
        "0::/a/b/c\n",
        {
            "a/b/c/cpu.max": "400000 100000\n",
            "a/b/cpu.max": "300000 100000\n",
            "a/cpu.max": "200000 100000\n",
        },
        2.0,
    ),
    "child has less": (
        "0::/a/b\n",
        {"a/b/cpu.max": "100000 100000\n", "a/cpu.max": "200000 100000\n"},
        1.0,
    ),
    "parent is limited, child is not": (
        "0::/a/b\n",
        {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"},
        3.0,
    ),
    "sibling's limit": (
        "0::/a/b\n",
        {"a/other/cpu.max": "100000 100000\n"},
        NO_LIMIT,
    ),
    "container with its own namespace": ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
    "container that sees the host's path": (
        "0::/system.slice/docker-0123.scope\n",
        {"cpu.max": "200000 100000\n"},
        2.0,
    ),
    "path above the namespace": (
        "0::/../sibling\n",
        {"cpu.max": "200000 100000\n"},
        2.0,
    ),
    "path with spaces and colons": ("0::/a b:c\n", {"a b:c/cpu.max": "200000 100000\n"}, 2.0),
    "no such folder": ("0::/gone\n", {}, NO_LIMIT),
}


def version_1_group(folder: str, quota: str, period: str = "100000") -> dict[str, str]:
    return {
        f"cpu{folder}/cpu.cfs_quota_us": f"{quota}\n",
        f"cpu{folder}/cpu.cfs_period_us": f"{period}\n",
    }


VERSION_1 = {
    "one group": ("4:cpu:/app\n", version_1_group("/app", "150000"), 1.5),
    "cpu together with cpuacct": ("4:cpu,cpuacct:/app\n", version_1_group("/app", "150000"), 1.5),
    "cpu behind cpuacct": ("4:cpuacct,cpu:/app\n", version_1_group("/app", "150000"), 1.5),
    "-1": ("4:cpu:/app\n", version_1_group("/app", "-1"), NO_LIMIT),
    "parent has less": (
        "4:cpu:/a/b\n",
        version_1_group("/a/b", "400000") | version_1_group("/a", "200000"),
        2.0,
    ),
    "parent is limited, child is not": (
        "4:cpu:/a/b\n",
        version_1_group("/a/b", "-1") | version_1_group("/a", "200000"),
        2.0,
    ),
    "container that sees the host's path": (
        "4:cpu:/docker/0123\n",
        version_1_group("", "200000"),
        2.0,
    ),
    "other controllers only": (
        "3:cpuset:/app\n2:cpuacct:/app\n1:name=systemd:/app\n",
        version_1_group("/app", "100000"),
        NO_LIMIT,
    ),
    "quota without period": (
        "4:cpu:/app\n",
        {"cpu/app/cpu.cfs_quota_us": "100000\n"},
        NO_LIMIT,
    ),
    "period of 0": ("4:cpu:/app\n", version_1_group("/app", "100000", "0"), NO_LIMIT),
    "beside version 2 without the controller": (
        "4:cpu,cpuacct:/app\n1:name=systemd:/app\n0::/app\n",
        version_1_group("/app", "200000"),
        2.0,
    ),
    "less than version 2": (
        "4:cpu:/app\n0::/app\n",
        version_1_group("/app", "100000") | {"app/cpu.max": "200000 100000\n"},
        1.0,
    ),
    "more than version 2": (
        "4:cpu:/app\n0::/app\n",
        version_1_group("/app", "300000") | {"app/cpu.max": "200000 100000\n"},
        2.0,
    ),
}


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        pytest.param(*case, id=f"{version}: {name}")
        for version, cases in (("version 2", VERSION_2), ("version 1", VERSION_1))
        for name, case in cases.items()
    ],
)
def test_the_quota_is_the_least_of_all_groups_that_hold_the_process(tmp_path, groups, files, expected):
    mounted = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    assert cpus.cgroup_quota(make_files(tmp_path, {"proc/self/cgroup": groups} | mounted)) == expected


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "max",
        "100000",
        "100000 0",
        "-1 100000",
        "1.5 100000",
        "1e5 100000",
        "0x10 100000",
        "100000 100000 100000",
        "no number",
        "\udcff\udcfe 100000",  # bytes that are no UTF-8
    ],
)
def test_a_quota_that_makes_no_sense_counts_as_none(tmp_path, content):
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": content}
    assert cpus.cgroup_quota(make_files(tmp_path, files)) == NO_LIMIT


@pytest.mark.parametrize("groups", ["", "\n", "no colons\n", ":\n", "::\n", "4:cpu\n", "0:::::\n"])
def test_a_list_of_groups_that_makes_no_sense_means_no_quota(tmp_path, groups):
    assert cpus.cgroup_quota(make_files(tmp_path, {"proc/self/cgroup": groups})) == NO_LIMIT


@pytest.mark.skipif(os.name == "nt", reason="needs file names that are any bytes, unlike Windows'")
def test_a_group_whose_name_is_no_utf8_is_found(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    files = {
        "proc/self/cgroup": f"0::/{name}\n",
        f"sys/fs/cgroup/{name}/cpu.max": "200000 100000\n",
    }
    try:
        make_files(tmp_path, files)
    except OSError:
        pytest.skip("needs a file system whose names are any bytes")
    assert cpus.cgroup_quota(tmp_path) == 2.0


def test_without_any_files_there_is_no_quota(tmp_path):
    assert cpus.cgroup_quota(tmp_path) == NO_LIMIT


def test_a_folder_where_a_file_should_be_means_no_quota(tmp_path):
    make_files(tmp_path, {"proc/self/cgroup": "0::/\n"})
    (tmp_path / "sys/fs/cgroup/cpu.max").mkdir(parents=True)
    assert cpus.cgroup_quota(tmp_path) == NO_LIMIT


# --- the number


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Put the process on so many CPUs and into a container with that quota: `container(cpus, "150000 100000")`."""

    def container(count: int, quota: str) -> None:
        make_files(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": quota})
        in_container = functools.partial(cpus.cgroup_quota, tmp_path)
        monkeypatch.setattr(cpus, "cgroup_quota", in_container)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)), raising=False)

    return container


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("0 100000", 1),
        ("1000 100000", 1),
        ("100000 100000", 1),
        ("100001 100000", 2),
        ("150000 100000", 2),
        ("750000 100000", 8),
        ("900000 100000", 8),
        ("max 100000", 8),
    ],
)
def test_a_fractional_quota_is_rounded_up_to_at_least_one_and_at_most_the_mask(container, quota, expected):
    container(8, quota)
    assert cpus.available() == expected


def test_the_number_is_an_int(container):
    container(4, "max 100000")
    assert type(cpus.available()) is int


def test_where_there_is_no_affinity_mask_all_cpus_count(container, monkeypatch):
    container(1, "max 100000")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cpus.available() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpus.available() == 1


@needs_affinity
def test_here_it_is_the_mask_unless_a_quota_says_less():
    allowed = len(os.sched_getaffinity(0))
    assert 1 <= cpus.available() <= allowed
    assert cpus.available() == max(1, math.ceil(min(allowed, cpus.cgroup_quota())))


@needs_affinity
def test_a_process_pinned_to_one_cpu_has_one(run_python):
    pinned = run_python(
        "import os\n"
        "from ortx import cpus\n"
        "os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\n"
        "print(cpus.available())"
    )
    assert (pinned.stdout.split(), pinned.stderr) == (["1"], "")


@needs_affinity
def test_a_real_group_with_a_quota_limits_the_threads_of_a_session(run_python, tmp_path):
    name = f"ortx-test-{os.getpid()}"
    version_1, version_2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    group = (version_1 if version_1.is_dir() else version_2) / name
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs a control group of its own, which cannot be made here: {error}")
    try:
        limits = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"} if version_1.is_dir() else {}
        try:
            for file, text in (limits or {"cpu.max": "50000 100000"}).items():
                (group / file).write_text(text)
        except OSError as error:
            pytest.skip(f"needs the controller of CPUs in its control group, which is not there: {error}")
        (tmp_path / "square.onnx").write_bytes(models.square())
        done = run_python(
            "import os, sys\n"
            "with open(sys.argv[2] + '/cgroup.procs', 'w') as file: file.write(str(os.getpid()))\n"
            "import ortx\n"
            "with ortx.session(sys.argv[1]) as session:\n"
            "    print(session.run([[[1, 2]]])[0].tolist(), session.options()['intra_op_num_threads'])",
            tmp_path / "square.onnx",
            group,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "[[1.0, 4.0]] 1\n", "")
    finally:
        group.rmdir()
