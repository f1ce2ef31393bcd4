"""README.md and package.json of a React Native project: what is in it, what to install, and what was never tried."""

import json
from typing import Final

from palmtop.bundle import Format

Packages = dict[str, str]

INSTALLED: Final[dict[Format, Packages]] = {
    "tflite": {
        "react-native": "0.88.1",
        "react": "19.3.1",
        "react-native-fast-tflite": "3.0.1",
        "react-native-nitro-modules": "0.37.1",
        "@react-native-async-storage/async-storage": "1.24.0",
    },
    "tfjs": {
        "react-native": "0.72.17",
        "react": "18.2.0",
        "expo": "49.0.23",
        "expo-asset": "8.10.1",
        "expo-camera": "13.4.4",
        "expo-gl": "13.0.1",
        "react-native-fs": "2.20.0",
        "@react-native-async-storage/async-storage": "1.24.0",
        "@tensorflow/tfjs-core": "4.22.0",
        "@tensorflow/tfjs-converter": "4.22.0",
        "@tensorflow/tfjs-backend-cpu": "4.22.0",
        "@tensorflow/tfjs-backend-webgl": "4.22.0",
        "@tensorflow/tfjs-react-native": "1.0.0",
    },
}
"""By the format of the model."""
CHECKED_WITH: Final[dict[Format, Packages]] = {
    "tflite": {
        "typescript": "5.9.3",
        "@types/react": "19.3.3",
        "@react-native/metro-config": "0.88.1",
        "@react-native/babel-preset": "0.88.1",
    },
    "tfjs": {
        "typescript": "5.9.3",
        "@types/react": "18.2.79",
        "@react-native/metro-config": "0.72.12",
        "metro-react-native-babel-preset": "0.76.9",
    },
}
"""What compiles and packs it."""
OF_THE_APP = ("react-native", "react")
"""What comes with the app that React Native's command line makes."""
RUNTIMES: Final[dict[Format, str]] = {
    "tflite": "`react-native-fast-tflite` (LiteRT 1.4.0 on Android, TensorFlow Lite 2.17.0 on iOS, on the processor)",
    "tfjs": "`@tensorflow/tfjs-react-native` (WebGL by expo-gl; plain JavaScript where WebGL answers otherwise than "
    "recorded, which is slow)",
}
NOTES: Final[dict[Format, str]] = {
    "tflite": "Every text is run at {length} tokens, padded: react-native-fast-tflite can't give an input another "
    "size. A file that was exported with one shorter length is faster.",
    "tfjs": "`@tensorflow/tfjs-react-native` 1.0.0 is its newest version and asks for modules of Expo 49, which is why "
    "React Native is 0.72 here. With a .tflite of the same model you can use today's.",
}
TEXT = """\
# {title}, in React Native

{description}

**This code has never run on a phone.** It was type-checked, and its tokenizer and its answers were compared with
Python's in Node; the calls of the runtime were compared with its types, and nothing else. Whether the model answers
rightly on a device is found out by the app itself: at the first start it asks the golden texts, and refuses to answer
where tokens or answers differ from those that Python recorded.

## Try it

```
npx @react-native-community/cli init PalmtopDemo --version {react_native} --skip-install
cd PalmtopDemo
npm install --save-exact {packages}
cp -r THIS_FOLDER/App.tsx THIS_FOLDER/metro.config.js THIS_FOLDER/model THIS_FOLDER/palmtop .
npx react-native run-android        # or: npx pod-install && npx react-native run-ios
```

`npm install && npx tsc -p .` in this folder checks the types.

## What is here

- `model/`: the model's file, packed by Metro as it is (metro.config.js names its ending), and the texts beside it:
  tokenizer, labels, signature, manifest, golden answers.
- `palmtop/core/`: tokenizer (WordPiece, byte-level BPE, Unigram), labels, tags, spans and numbers; TypeScript without
  any package. No `\\p{{...}}` and no `normalize()`: what these do differs between JavaScript engines, so tables are
  frozen.
- `palmtop/engine/`: the model in {runtime}.
- `palmtop/text_model.ts`: `TextModel.open(bundled, memory)`, then `answer(["a text"])`, from your own screens.
- `palmtop/AnswerScreen.tsx`, `App.tsx`: write a text, and see the answer as you type.

{note}

What a text gets is decided on the device; nothing is sent anywhere.
"""


def readme(title: str, description: str, made_of: Format, length: int | None) -> str:
    """The whole text.

    Args:
        length: tokens at which every text runs, where the runtime has only one.
    """
    installed = INSTALLED[made_of]
    return TEXT.format(
        title=title,
        description=description,
        react_native=installed["react-native"],
        packages=" ".join(f"{name}@{version}" for name, version in installed.items() if name not in OF_THE_APP),
        runtime=RUNTIMES[made_of],
        note=NOTES[made_of].format(length=length),
    )


def package_json(made_of: Format) -> str:
    """What the code is checked with; an app has a package.json of its own."""
    content = {
        "name": "palmtop-react-native-demo",
        "version": "0.0.0",
        "private": True,
        "dependencies": INSTALLED[made_of],
        "devDependencies": CHECKED_WITH[made_of],
    }
    return json.dumps(content, indent=2) + "\n"
