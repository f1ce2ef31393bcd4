// A text model of an app: opens it, compares its golden answers once, answers.
import type { Answer } from './core/answer';
import { fileOf, goldenOf, type GoldenRow, labelsOf, lengthFor, manifestOf, signatureOf } from './core/folder';
import type { Manifest, ModelFolder, Signature } from './core/folder';
import { Refused } from './core/json';
import { parityOf, within } from './core/parity';
import { Reader } from './core/reader';
import { type Encoded, type Tokenizer, tokenizerOf } from './core/tokenizer';
import type { Runtime, RuntimeSource } from './engine/runtime';

/** What `palmtop to_app` wrote into the folder model/. */
export interface BundledModel {
  readonly folder: ModelFolder;
  /** What can run it; the first whose golden answers are the recorded ones does. */
  readonly runtimes: readonly RuntimeSource[];
}

/** Keeps a line of text from one start of the app to the next. */
export interface Memory {
  read(): Promise<string | null>;
  write(line: string): Promise<void>;
}

export interface TimedAnswer {
  readonly answer: Answer;
  /** Whether the text was longer than the model reads, and its end was cut off. */
  readonly truncated: boolean;
  /** Tokens that the model read, special ones in. */
  readonly tokens: number;
  /** Milliseconds from text to token ids. */
  readonly tokenizationMs: number;
  /** Milliseconds from token ids to the model's outputs. */
  readonly inferenceMs: number;
}

/** Told while golden texts are asked: so many of all. */
export type Progress = (done: number, all: number) => void;

/** There is none whose golden answers differ: `open` refuses to make it. */
export class TextModel {
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly manifest: Manifest,
    /** What runs it. */
    readonly runtime: string,
    private readonly opened: Opened,
  ) {}

  /**
   * Open a model. At its first start on a device, and after another model or runtime came with the app, the golden texts
   * are asked; what passed is kept in `memory`.
   *
   * Throws Refused: tokens or answers differ from the recorded ones with every runtime, or a file isn't what it has to be.
   */
  static async open({ folder, runtimes }: BundledModel, memory: Memory, tell: Progress = () => undefined): Promise<TextModel> {
    const texts = new Texts(folder);
    const passed = await memory.read();
    const key = ({ name }: RuntimeSource) => `${folder.digest} ${name}`;
    const faults: string[] = [];
    for (const source of [...runtimes].sort((one, other) => Number(key(other) === passed) - Number(key(one) === passed))) {
      try {
        const opened = new Opened(texts, await source.open(), source.length);
        const fault = key(source) === passed ? null : await faultOf(opened, goldenOf(folder), tell);
        if (fault === null) {
          await memory.write(key(source));
          return new TextModel(texts.manifest, source.name, opened);
        }
        faults.push(`${source.name}: ${fault}`);
      } catch (error) {
        faults.push(`${source.name}: ${(error as Error).message}`);
      }
    }
    throw new Refused(`This model doesn't answer here. ${faults.join('. ')}`);
  }

  /** The answer to a text, or to two: a pair, or a question and its context. Calls take turns. */
  answer(texts: readonly string[]): Promise<TimedAnswer> {
    if (texts.length !== this.manifest.texts) throw new Error(`the model reads ${this.manifest.texts} texts at a time, not ${texts.length}`);
    const mine = this.turn.then(() => this.opened.answer(texts));
    this.turn = mine.catch(() => undefined);
    return mine;
  }
}

/** What is known of a model from its texts alone. */
class Texts {
  readonly manifest: Manifest;
  readonly signature: Signature;
  readonly labels: readonly string[];
  readonly tokenizer: Tokenizer;
  readonly reader: Reader;

  constructor(folder: ModelFolder) {
    this.manifest = manifestOf(folder);
    this.signature = signatureOf(folder);
    this.labels = labelsOf(folder);
    this.tokenizer = tokenizerOf(fileOf(folder, 'tokenizer.json'));
    this.reader = new Reader(this.manifest.kind, this.labels, this.signature);
  }

  encode(texts: readonly string[]): Encoded {
    return this.reader.encode(this.tokenizer, texts);
  }
}

/** A model in a runtime. */
class Opened {
  constructor(
    readonly texts: Texts,
    private readonly runtime: Runtime,
    private readonly length: number | null,
  ) {}

  async answer(texts: readonly string[]): Promise<TimedAnswer> {
    const started = Date.now();
    const encoded = this.texts.encode(texts);
    const tokenized = Date.now();
    const kept = await this.outputs(encoded);
    const inferenceMs = Date.now() - tokenized;
    const answer = this.texts.reader.answer(kept, encoded, texts);
    return { answer, truncated: encoded.truncated, tokens: encoded.ids.length, tokenizationMs: tokenized - started, inferenceMs };
  }

  /** What is kept of the model's outputs. */
  async outputs(encoded: Encoded): Promise<number[]> {
    const { signature, reader } = this.texts;
    const length = this.length ?? lengthFor(signature, encoded.ids.length);
    const padded = (values: readonly number[], filler: number) => Int32Array.from({ length }, (_, place) => values[place] ?? filler);
    const feeds = {
      input_ids: padded(encoded.ids, signature.padId),
      attention_mask: padded(encoded.ids.map(() => 1), 0),
      token_type_ids: padded(encoded.typeIds, 0),
    };
    return reader.kept(await this.runtime.run(feeds, length), encoded);
  }
}

/** Ask the golden texts; says what differs from what was recorded, or null. */
async function faultOf(opened: Opened, rows: readonly GoldenRow[], tell: Progress): Promise<string | null> {
  const { manifest, signature, labels, reader } = opened.texts;
  if (rows.length < Math.max(1, manifest.goldenTexts)) return `golden.jsonl has ${rows.length} answers, and should have ${manifest.goldenTexts}`;
  const encoded = rows.map((row) => opened.texts.encode(row.texts));
  const others = rows.filter((row, at) => String([row.ids, row.typeIds]) !== String([encoded[at].ids, encoded[at].typeIds])).length;
  if (others > 0) return `the tokenizer gives other ids than recorded for ${others} of ${rows.length} golden texts`;
  const found: number[][] = [];
  for (const each of encoded) {
    tell(found.length, rows.length);
    await new Promise<void>((resume) => setTimeout(resume, 0)); // the screen shows how far it is
    found.push(await opened.outputs(each));
  }
  const parity = parityOf(rows.map((row) => row.outputs), found, manifest.kind, signature.output, labels.length);
  if (!within(parity, manifest.tolerance)) {
    const { difference, agreement } = parity;
    return `its outputs differ from the recorded ones by ${difference} of their spread (${manifest.tolerance.difference} is allowed), ${agreement} of the answers agree (at least ${manifest.tolerance.agreement})`;
  }
  const wrong = rows.filter((row, at) => reader.said(row.outputs, encoded[at], row.texts) !== row.answer).length;
  return wrong > 0 ? `${wrong} of ${rows.length} golden answers are told in other words than recorded` : null;
}
