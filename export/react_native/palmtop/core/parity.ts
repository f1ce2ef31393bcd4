// How far outputs are from those that were recorded, as `palmtop verify` has it.
import type { Kind, Tolerance } from './folder';
import { largest } from './reader';
import { bestSpan, OUTSIDE } from './spans';

export interface Parity {
  /** Largest difference, as a share of the outputs' spread. */
  readonly difference: number;
  /** Root mean square of the differences, as a share of the spread. */
  readonly typical: number;
  /** Share of texts with the same first answer. */
  readonly agreement: number;
}

type Row = readonly number[];
type Pair = readonly [Row, Row];

const LEAST_PROBABILITY = 1e-12;
const LARGEST_LOGIT = 30;
const HALF = 0.5;

/** Of texts' outputs, as Reader.kept gives them; output: what the signature says of both; labels: how many there are. */
export function parityOf(expected: readonly Row[], found: readonly Row[], kind: Kind, output: string, labels: number): Parity {
  if (expected.some((row, place) => row.length !== found[place].length)) return { difference: NaN, typical: NaN, agreement: 0 };
  const pairs = expected.map((row, place): Pair => [row, found[place]]);
  if (kind === 'question_answering') return ofSpans(pairs);
  return kind === 'token_classification' ? ofTags(pairs, labels) : plain(pairs, kind, output);
}

/** Whether it is within a tolerance; a NaN never is. */
export function within({ difference, typical, agreement }: Parity, most: Tolerance): boolean {
  return difference <= most.difference && typical <= most.typical && agreement >= most.agreement;
}

function plain(pairs: readonly Pair[], kind: Kind, output: string): Parity {
  const compared = pairs.map((pair) => pair.map((row) => row.map((value) => comparable(value, kind, output))));
  const distances: number[] = [];
  for (const [one, other] of compared) one.forEach((value, at) => distances.push(Math.abs(value - other[at])));
  const spread = spreadOf(compared.map(([one]) => one));
  return {
    difference: most(distances) / spread,
    typical: Math.sqrt(mean(distances.map((each) => each * each))) / spread,
    agreement: share(pairs, (pair) => agrees(pair, kind)),
  };
}

/** What numbers are compared as: probabilities as their logarithms, or as the logits behind them. */
function comparable(value: number, kind: Kind, output: string): number {
  if (kind === 'multi_label') return Math.min(LARGEST_LOGIT, Math.max(-LARGEST_LOGIT, Math.log(value) - Math.log1p(-value)));
  return kind === 'classification' && output !== 'logits' ? Math.log(Math.max(value, LEAST_PROBABILITY)) : value;
}

function agrees([expected, found]: Pair, kind: Kind): boolean {
  if (kind === 'regression') return true;
  if (kind === 'multi_label') return expected.every((value, at) => value >= HALF === found[at] >= HALF);
  return largest(expected) === largest(found);
}

function ofTags(pairs: readonly Pair[], labels: number): Parity {
  const byText = pairs.map(([one, other]) => {
    const tokens: Pair[] = [];
    for (let at = 0; at < one.length; at += labels) {
      if (one[at] !== OUTSIDE) tokens.push([one.slice(at, at + labels), other.slice(at, at + labels)]);
    }
    return tokens;
  });
  const every = joined(byText);
  const spread = spreadOf(every.map(([one]) => one));
  return {
    difference: most(byText.map((tokens) => Math.sqrt(mean(tokens.map(squares))))) / spread,
    typical: Math.sqrt(mean(every.map(squares))) / spread,
    agreement: share(every, ([one, other]) => largest(one) === largest(other)),
  };
}

function ofSpans(pairs: readonly Pair[]): Parity {
  const byText = pairs.map(([one, other]) =>
    one.map((value, at): Pair => [[value], [other[at]]]).filter(([[value]]) => value !== OUTSIDE),
  );
  const every = joined(byText);
  const spread = spreadOf(every.map(([one]) => one));
  return {
    difference: most(byText.map((values) => Math.sqrt(mean(values.map(squares))))) / spread,
    typical: Math.sqrt(mean(every.map(squares))) / spread,
    agreement: share(pairs, ([one, other]) => String(best(one)) === String(best(other))),
  };
}

function best(row: Row): [number, number] {
  return bestSpan(row.slice(0, row.length / 2), row.slice(row.length / 2));
}

/** Mean of the squared differences. */
function squares([one, other]: Pair): number {
  return mean(one.map((value, at) => (value - other[at]) ** 2));
}

/** The standard deviation over rows, mean over columns; 1 where there is none. */
function spreadOf(rows: readonly Row[]): number {
  return mean((rows[0] ?? []).map((_, column) => deviation(rows.map((row) => row[column])))) || 1;
}

function deviation(values: Row): number {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
}

/** 0 of none. */
function mean(values: Row): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** NaN where one is. */
function most(values: Row): number {
  return values.reduce((a, b) => Math.max(a, b), 0);
}

function share<T>(of: readonly T[], holds: (each: T) => boolean): number {
  return of.filter(holds).length / of.length;
}

function joined<T>(lists: readonly (readonly T[])[]): T[] {
  const made: T[] = [];
  for (const each of lists) made.push(...each);
  return made;
}
