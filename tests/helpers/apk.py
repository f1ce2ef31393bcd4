"""android_demo compiled, shrunk, packed and signed without Android's SDK: a compile check, no build."""

import shutil
import struct
import subprocess
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kotlin_jvm import compile_kotlin, libraries

from palmtop.cli import apk_tools, kotlin_tools

DEMO = Path(__file__).parents[2] / "android_demo"
LATER = Path(__file__).parents[1] / "android" / "later_api"
"""Classes of android.jar with what came after its API, as far as the app uses it."""
PACKAGE = "app.palmtop.demo"
RULES = "-keepattributes SourceFile,LineNumberTable\n"
ANNOTATIONS = "annotations-13.0.jar"
"""Of JetBrains, which Kotlin's classes bear."""
METHODS_IN_DEX = 0x58
"""Where a dex file's header says how many methods it names (dex format, header_item.method_ids_size)."""


@dataclass(frozen=True)
class Packed:
    """What came of it."""

    apk: Path
    """Aligned and signed."""
    verified: str
    """What apksigner says."""

    def read(self, name: str) -> bytes:
        """A file in the APK."""
        with zipfile.ZipFile(self.apk) as archive:
            return archive.read(name)

    def stored(self) -> set[str]:
        """Names of the files in it that aren't compressed."""
        with zipfile.ZipFile(self.apk) as archive:
            return {entry.filename for entry in archive.infolist() if entry.compress_type == zipfile.ZIP_STORED}

    def methods(self) -> int:
        """How many methods its code names."""
        [count] = struct.unpack_from("<I", self.read("classes.dex"), METHODS_IN_DEX)
        return int(count)


def versions() -> dict[str, str]:
    """The version catalogue's versions."""
    found: dict[str, str] = tomllib.loads((DEMO / "gradle" / "libs.versions.toml").read_text())["versions"]
    return found


def pack(work: Path, layers: Path) -> Packed:
    """All of it, in an empty folder.

    Args:
        layers: classes of core and engine, with what the tests on the JVM have beside them.
    """
    _link(work)
    _compile(work, layers)
    _shrink(work, [*_own(layers), *(work / "classes").rglob("*.class")])
    shutil.copyfile(work / "linked.apk", work / "unsigned.apk")
    with zipfile.ZipFile(work / "unsigned.apk", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.write(work / "dex" / "classes.dex", "classes.dex")
    run("zipalign", "-p", "4", work / "unsigned.apk", work / "aligned.apk")
    return Packed(work / "signed.apk", _sign(work))


def run(*words: str | Path) -> str:
    """A command's output; all of what it said where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"
    return done.stdout


def _link(work: Path) -> None:
    """Resources and assets, and R.java; AGP gives the manifest its package, and the string with LiteRT's version."""
    main = DEMO / "app" / "src" / "main"
    manifest = (main / "AndroidManifest.xml").read_text().replace("<manifest ", f'<manifest package="{PACKAGE}" ', 1)
    (work / "AndroidManifest.xml").write_text(manifest)
    given = work / "given" / "values"
    given.mkdir(parents=True)
    value = f'<resources><string name="litert_version">{versions()["litert"]}</string></resources>'
    (given / "given.xml").write_text(value)
    for name, folder in (("own.zip", main / "res"), ("given.zip", work / "given")):
        run("aapt2", "compile", "--dir", folder, "-o", work / name)
    words = ["--manifest", work / "AndroidManifest.xml", "--java", work / "java", "--proguard", work / "named.pro"]
    words += ["--min-sdk-version", versions()["minSdk"], "--target-sdk-version", "34", "-A", main / "assets"]
    words += ["--version-code", "1", "--version-name", "1", "-0", ".tflite", "-I", apk_tools.FRAMEWORK]
    run("aapt2", "link", *words, "-o", work / "linked.apk", work / "own.zip", work / "given.zip")


def _compile(work: Path, layers: Path) -> None:
    """The app, against Android's classes and the layers below it; a warning is an error."""
    java = [*work.glob("java/**/*.java"), *LATER.rglob("*.java")]
    sources = sorted((DEMO / "app").glob("src/main/**/*.kt"))
    language = ("-language-version", versions()["kotlin"].rpartition(".")[0])
    compile_kotlin([*java, *sources], work / "classes", [*_library(), layers], language)


def _own(layers: Path) -> list[Path]:
    """The classes of core and engine alone: LiteRT's own come with its AAR, and the harness stays here."""
    return [path for path in layers.rglob("app/palmtop/*/*.class") if not path.name.startswith("Main")]


def _shrink(work: Path, classes: Sequence[Path]) -> None:
    (work / "dex").mkdir()
    rules = (DEMO / "engine" / "consumer-rules.pro").read_text()
    (work / "rules.pro").write_text(RULES + rules + (work / "named.pro").read_text())
    phone: list[str | Path] = [word for jar in (*_library(), _java_home()) for word in ("--lib", jar)]
    words = ["--release", "--min-api", versions()["minSdk"], "--pg-conf", work / "rules.pro", "--output", work / "dex"]
    shrinker = ["java", "-Xmx1g", "-cp", apk_tools.jars() / apk_tools.D8, "com.android.tools.r8.R8"]
    run(*shrinker, *words, *phone, *classes, *(libraries() / jar for jar in ("kotlin-stdlib.jar", ANNOTATIONS)))


def _sign(work: Path) -> str:
    """With a key of the moment; returns what the signature's check says."""
    key = work / "key.jks"
    secret = ["-storepass", "android", "-keypass", "android", "-alias", "check", "-dname", "CN=check"]
    run("keytool", "-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-keystore", key, *secret)
    words = ["--ks", key, "--ks-pass", "pass:android", "--v3-signing-enabled", "true"]
    run("apksigner", "sign", *words, "--out", work / "signed.apk", work / "aligned.apk")
    return run("apksigner", "verify", "--verbose", "--min-sdk-version", versions()["minSdk"], work / "signed.apk")


def _library() -> list[Path]:
    """What a phone has: Android's classes, and org.json."""
    return [apk_tools.jars() / apk_tools.ANDROID, kotlin_tools.JARS["libandroid-json-java"]]


def _java_home() -> Path:
    java = shutil.which("java")
    assert java is not None, "see kotlin_tools.missing"
    return Path(java).resolve().parents[1]
