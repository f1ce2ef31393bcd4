"""Made-up boards: what the kernel tells of a core, for programs under an emulator. LiteRT reads it, and dies of what
this machine's kernel says."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

FEATURES = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    "sha3 sm3 sm4 sha512 sve asimdfhm flagm ssbs sb sve2 i8mm bf16",
)


@dataclass(frozen=True)
class Core:
    """A core of Arm's: what it is called, by people and by qemu, and its number in /proc/cpuinfo."""

    called: str
    cpu: str
    part: str
    features: str


CORES = {
    "a53": Core("Cortex-A53", "cortex-a53", "0xd03", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
    "a76": Core("Cortex-A76", "cortex-a76", "0xd0b", FEATURES[0]),
    "a710": Core("Cortex-A710", "cortex-a710", "0xd47", " ".join(FEATURES)),
}
"""Never qemu's own `max`: some versions answer rubbish on it."""


def board(root: Path, core: Core) -> Path:
    """A root for the emulator: the system at `root`, and beside it the files of a board with one such core."""
    place = root.with_name(f"{root.name}-{core.cpu}")
    if not place.is_dir():
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{place.name}-", ignore_cleanup_errors=True) as made:
            _write(Path(made), root, core)
            try:
                Path(made).rename(place)
            except OSError:
                if not place.is_dir():  # otherwise another process was faster, with the same content
                    raise
    return place


def _write(made: Path, root: Path, core: Core) -> None:
    for folder in root.iterdir():
        (made / folder.name).symlink_to(Path("..") / root.name / folder.name)
    lines = {
        "processor": "0",
        "BogoMIPS": "48.00",
        "Features": core.features,
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": "0x1",
        "CPU part": core.part,
        "CPU revision": "1",
    }
    files = {"proc/cpuinfo": "".join(f"{name}\t: {value}\n" for name, value in lines.items()) + "\n"}
    cpus = "sys/devices/system/cpu"
    files |= {f"{cpus}/{name}": "0\n" for name in ("possible", "present", "online")}
    topology = ("core_id", "physical_package_id", "package_cpus_list", "core_siblings_list", "thread_siblings_list")
    files |= {f"{cpus}/cpu0/topology/{name}": "0\n" for name in topology}
    files |= {f"{cpus}/cpu0/cpufreq/cpuinfo_{end}_freq": "2000000\n" for end in ("min", "max")}
    for name, text in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text, encoding="ascii")
    shutil.copystat(root, made)
