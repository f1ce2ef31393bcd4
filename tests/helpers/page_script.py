"""The page's scripts in Node: what they make of values that Python made too."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ASK = """\
import { readFileSync } from "node:fs";
import { Tokenizer } from "./runtime/tokenizers.min.mjs";
import { encode, encodeWindows } from "./runtime/encode.js";
import { meaningOf } from "./meaning.js";
import { placesOf } from "./places.js";
import { quantiles } from "./benchmark.js";

const asked = JSON.parse(readFileSync(0, "utf8"));
const read = (name) => JSON.parse(readFileSync(asked.folder + "/" + name, "utf8"));
const QUESTIONS = {
  encode: ({ texts, max_length: longest, spans }) => {
    const [known, config] = [read("tokenizer.json"), read("tokenizer_config.json")];
    const tokenizer = new Tokenizer(known, config);
    return texts.map((text) => {
      const encoding = encode(tokenizer, longest, text, spans);
      return { ...encoding, places: encoding.tokens.map((tokens, part) => placesOf(text[part], tokens, known)) };
    });
  },
  tell: ({ kind, rows, signature, labels }) => {
    const [known, config] = [read("tokenizer.json"), read("tokenizer_config.json")];
    const tokenizer = new Tokenizer(known, config);
    return rows.map(({ text, outputs }) => {
      const encoding = encode(tokenizer, signature.max_length, text, signature.output === "spans");
      const asked = { signature, labels, known, texts: text, encoding };
      const given = meaningOf(kind).given(outputs, asked);
      return { ids: encoding.ids, given, ...meaningOf(kind).told(given, asked) };
    });
  },
  windows: ({ rows, signature, labels }) => {
    const [known, config] = [read("tokenizer.json"), read("tokenizer_config.json")];
    const tokenizer = new Tokenizer(known, config);
    const { given, told } = meaningOf("question_answering");
    return rows.map(({ text, outputs }) => {
      const windows = encodeWindows(tokenizer, signature.max_length, text, signature.stride).map((encoding, place) => {
        const asked = { signature, labels, known, texts: text, encoding };
        return { ...asked, outputs: given(outputs[place], asked) };
      });
      const ids = windows.map(({ encoding }) => encoding.ids);
      return { ids, truncated: windows[0].encoding.truncated, ...told(windows[0].outputs, windows[0], windows) };
    });
  },
  quantiles: ({ times }) => quantiles(times),
};
process.stdout.write(JSON.stringify(QUESTIONS[asked.question](asked)));
"""


def in_node(at: Path, question: str, **asked: Any) -> Any:
    """What a script says to a question: encode (texts of a tokenizer's `folder`), tell (what outputs mean), windows
    (what those of several windows mean), quantiles.

    Args:
        at: a folder for the scripts, empty or of a question before.
    """
    from palmtop.eval.targets._web_packages import install_packages

    if not (at / "ask.mjs").exists():
        shutil.copytree(ROOT / "export" / "page", at, dirs_exist_ok=True)
        web, modules = ROOT / "eval" / "targets" / "web", install_packages()
        for path in (
            web / "encode.js",
            web / "truncation.js",
            modules / "@huggingface/tokenizers/dist/tokenizers.min.mjs",
        ):
            (at / "runtime").mkdir(exist_ok=True)
            shutil.copy(path, at / "runtime" / path.name)
        (at / "package.json").write_text('{"type": "module"}')
        (at / "ask.mjs").write_text(ASK)
    given = json.dumps({"question": question, **asked}, default=str)
    done = subprocess.run(
        ["node", "ask.mjs"], cwd=at, input=given, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)
