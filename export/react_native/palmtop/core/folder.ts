// What the model's folder says of itself: manifest.json, signature.json, labels.txt, golden.jsonl.
import { type JsonObject, number, numbers, object, parsed, Refused, text, texts } from './json';

/** Texts of the model's folder by the names of their files, and what Python found when it wrote the project. */
export interface ModelFolder {
  readonly files: Readonly<Record<string, string>>;
  /** Sha256 of manifest.json: another one is another model. */
  readonly digest: string;
}

export type Kind = 'classification' | 'multi_label' | 'regression' | 'token_classification' | 'question_answering';
export type InputName = 'input_ids' | 'attention_mask' | 'token_type_ids';

const KINDS: readonly string[] = ['classification', 'multi_label', 'regression', 'token_classification', 'question_answering'];
const INPUTS: readonly string[] = ['input_ids', 'attention_mask', 'token_type_ids'];

/** How far golden answers may be from those that were recorded, as shares of the outputs' spread. */
export interface Tolerance {
  /** The largest difference. */
  readonly difference: number;
  /** The root mean square of all differences. */
  readonly typical: number;
  /** Least share of texts with the same first answer. */
  readonly agreement: number;
}

export interface Manifest {
  readonly name: string;
  readonly description: string;
  readonly kind: Kind;
  /** What is asked at a time: 1 text, or 2 (a pair; a question and its context). */
  readonly texts: number;
  readonly tolerance: Tolerance;
  readonly goldenTexts: number;
}

export interface Signature {
  readonly inputs: readonly InputName[];
  /** What the model answers with: logits, probabilities, label_probabilities, token_logits or spans. */
  readonly output: string;
  /** The token counts that the model takes, ascending; null where any up to maxLength will do. */
  readonly lengths: readonly number[] | null;
  /** Longest text in tokens, special ones in. */
  readonly maxLength: number;
  readonly padId: number;
  /** Probabilities from which on each label is given; null where a text has one label. */
  readonly thresholds: readonly number[] | null;
  /** A question has no answer where the logits of [CLS] are above the best span's by more than this; null: it always has
   * one. */
  readonly nullThreshold: number | null;
}

/** A text, what the tokenizer has to make of it, and what the model answered where it was made. */
export interface GoldenRow {
  readonly texts: readonly string[];
  readonly ids: readonly number[];
  readonly typeIds: readonly number[];
  readonly outputs: readonly number[];
  /** What it says in words; null of a number. */
  readonly answer: string | null;
}

export function fileOf(folder: ModelFolder, name: string): string {
  const found = folder.files[name];
  if (found === undefined) throw new Refused(`the model's folder has no ${name}: write the project anew with 'palmtop to_app'`);
  return found;
}

export function manifestOf(folder: ModelFolder): Manifest {
  const json = parsed(fileOf(folder, 'manifest.json'), 'manifest.json');
  const kind = text(json.kind, 'kind');
  if (!KINDS.includes(kind)) throw new Refused(`the model is for '${kind}', which this code doesn't know`);
  return {
    name: text(json.name, 'name'),
    description: text(json.description, 'description'),
    kind: kind as Kind,
    texts: number(json.texts, 'texts'),
    tolerance: tolerance(object(json.tolerance, 'tolerance')),
    goldenTexts: number(json.golden_texts ?? 1, 'golden_texts'),
  };
}

function tolerance(json: JsonObject): Tolerance {
  const share = (name: string) => number(json[name], name);
  return { difference: share('difference'), typical: share('typical'), agreement: share('agreement') };
}

export function signatureOf(folder: ModelFolder): Signature {
  const json = parsed(fileOf(folder, 'signature.json'), 'signature.json');
  const inputs = texts(json.inputs, 'inputs');
  const strange = inputs.find((name) => !INPUTS.includes(name));
  if (strange !== undefined || inputs.length === 0) throw new Refused(`the model takes '${strange ?? 'nothing'}', which this code doesn't know`);
  if ((json.stride ?? null) !== null) throw new Refused("the model reads a context in several windows, which this code doesn't do");
  return {
    inputs: inputs as InputName[],
    output: text(json.output ?? 'logits', 'output'),
    lengths: json.lengths ? numbers(json.lengths, 'lengths') : null,
    maxLength: number(json.max_length, 'max_length'),
    padId: number(json.pad_id, 'pad_id'),
    thresholds: json.thresholds ? numbers(json.thresholds, 'thresholds') : null,
    nullThreshold: (json.null_threshold ?? null) === null ? null : number(json.null_threshold, 'null_threshold'),
  };
}

/** The length at which a text of so many tokens is run. */
export function lengthFor({ lengths }: Signature, tokens: number): number {
  return lengths === null ? tokens : (lengths.find((length) => length >= tokens) ?? lengths[lengths.length - 1]);
}

export function labelsOf(folder: ModelFolder): string[] {
  return fileOf(folder, 'labels.txt').replace(/\n$/, '').split('\n');
}

export function goldenOf(folder: ModelFolder): GoldenRow[] {
  const lines = fileOf(folder, 'golden.jsonl').split('\n').filter((line) => line !== '');
  return lines.map((line) => goldenRow(parsed(line, 'golden.jsonl')));
}

function goldenRow(json: JsonObject): GoldenRow {
  return {
    texts: texts(json.text, 'text'),
    ids: numbers(json.input_ids, 'input_ids'),
    typeIds: numbers(json.token_type_ids, 'token_type_ids'),
    outputs: numbers(json.outputs, 'outputs').map(Math.fround),
    answer: typeof json.answer === 'string' ? json.answer : null,
  };
}
