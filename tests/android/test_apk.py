"""android_demo's app compiles against Android's classes, survives R8, and becomes an APK whose signature holds: a
compile check. Nothing here has run on a phone."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from apk import DEMO, Packed, pack, run, versions
from kotlin_jvm import Jvm

from palmtop.cli import apk_tools

RES = DEMO / "app" / "src" / "main" / "res"
NAME = "{http://schemas.android.com/apk/res/android}"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, jvm: Jvm) -> Packed:
    if lack := apk_tools.missing():
        pytest.skip(f"android_demo is packed with {lack}")
    return pack(tmp_path_factory.mktemp("apk"), jvm.classes)


@pytest.mark.slow
def test_the_app_is_packed_and_its_signature_holds(packed: Packed) -> None:
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in packed.verified
    assert "Verified using v3 scheme (APK Signature Scheme v3): true" in packed.verified
    dex = packed.read("classes.dex")
    models = {name for name in packed.stored() if name.endswith(".tflite")}
    print(f"APK {packed.apk.stat().st_size} bytes, dex {len(dex)} bytes, {packed.methods()} methods, models {models}")
    assert len(dex) < 400_000  # the demo's code; measured: README's table of what was checked
    shipped = {path.relative_to(DEMO / "app/src/main").as_posix() for path in DEMO.rglob("assets/models/*/*.tflite")}
    assert models == shipped  # stored, so that they are mapped and not copied


@pytest.mark.slow
def test_it_asks_for_no_permission(packed: Packed) -> None:
    told = run("aapt2", "dump", "permissions", packed.apk)
    assert "uses-permission" not in told


@pytest.mark.slow
def test_what_the_manifest_names_is_in_the_code(packed: Packed) -> None:
    """R8 takes away what nothing calls, and the system alone calls activities."""
    dex = packed.read("classes.dex")
    manifest = ET.parse(DEMO / "app/src/main/AndroidManifest.xml").getroot()
    named = [found.attrib[f"{NAME}name"] for found in manifest.iter("activity")]
    assert len(named) == 2
    for activity in named:
        assert f"L{activity.replace('.', '/')};".encode() in dex


def test_every_word_is_there_in_both_languages() -> None:
    english, german = (_words(RES / folder / "strings.xml") for folder in ("values", "values-de"))
    assert german == {name: holes for name, (holes, translated) in english.items() if translated}


def test_no_word_stands_in_code_or_layouts() -> None:
    for layout in RES.glob("layout/*.xml"):
        for view in ET.parse(layout).iter():
            for told in ("text", "hint", "contentDescription"):
                assert view.get(f"{NAME}{told}", "@string/").startswith("@string/"), f"{layout.name}: {view.attrib}"


def test_every_field_has_a_label_and_letters_are_in_sp() -> None:
    for layout in RES.glob("layout/activity_*.xml"):
        tree = ET.parse(layout)
        fields = {view.get(f"{NAME}id", "").split("/")[1] for tag in ("EditText", "Spinner") for view in tree.iter(tag)}
        labelled = {named.split("/")[1] for view in tree.iter() if (named := view.get(f"{NAME}labelFor"))}
        assert fields == labelled
    for style in ET.parse(RES / "values" / "styles.xml").iter("item"):
        assert style.get("name") != "android:textSize" or (style.text or "").endswith("sp")


def test_the_catalogue_names_every_version_that_the_modules_use() -> None:
    """Gradle can't run here: its catalogue is read as the TOML it is, and what the modules ask of it is there."""
    known = versions()
    assert tuple(map(int, known["litert"].split(".")[:2])) >= (1, 4)
    assert known["minSdk"] == "26"
    scripts = [path.read_text() for path in DEMO.rglob("*.gradle.kts")]
    assert len(scripts) == 5
    for script in scripts:
        assert script.count("{") == script.count("}")
    for module in ("core", "engine", "app"):
        assert f'":{module}"' in (DEMO / "settings.gradle.kts").read_text()
        assert (DEMO / module / "build.gradle.kts").is_file()


def _words(path: Path) -> dict[str, object]:
    """The holes in each string, by its name, and in the first language whether it is translated."""
    found: dict[str, object] = {}
    for entry in ET.parse(path).getroot():
        text = "".join(entry.itertext())
        holes = (entry.tag, sorted(part[:3] for part in text.split("%")[1:] if "$" in part[:3]), len(entry))
        found[str(entry.get("name"))] = (
            holes if path.parent.name != "values" else (holes, entry.get("translatable") is None)
        )
    return found
