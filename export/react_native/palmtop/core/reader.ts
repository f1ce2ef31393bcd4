// What a model reads and what its outputs mean, by the kind of its task.
import type { Answer } from './answer';
import type { Kind, Signature } from './folder';
import { SPECIAL } from './post_processors';
import { bestSpan, OUTSIDE, spanScore, trimmed } from './spans';
import type { Encoded, Tokenizer } from './tokenizer';
import { entities, firstTokens, NO_ENTITY, type Place, wordsOf } from './words';

/** Tokens after which a question is cut, as in BERT's run_squad.py. */
const MOST_OF_QUESTION = 64;
const HALF = 0.5;

export class Reader {
  /** labels: names of the outputs, in their order. */
  constructor(
    private readonly kind: Kind,
    private readonly labels: readonly string[],
    private readonly signature: Signature,
  ) {}

  /** One text, or two, as the model takes them. */
  encode(tokenizer: Tokenizer, [text, pair]: readonly string[]): Encoded {
    if (this.kind === 'question_answering') return this.question(tokenizer, text, pair);
    return tokenizer.encode(text, pair ?? null, this.signature.maxLength);
  }

  /** Only the context is cut, unless the question fills half the length. */
  private question(tokenizer: Tokenizer, question: string, context: string): Encoded {
    const most = Math.min(MOST_OF_QUESTION, Math.floor(this.signature.maxLength / 2));
    const { ids, ends } = tokenizer.tokens(question);
    const cut = ids.length > most ? question.slice(0, ends[most - 1]) : question;
    const made = tokenizer.encode(cut, context, this.signature.maxLength, 'only_second');
    return { ...made, truncated: made.truncated || cut.length < question.length };
  }

  /**
   * What is kept of a padded run, as golden.jsonl has it: an output for each label; of tags those of each token; of
   * spans the start logit of each token, then the end logits. What belongs to no token of the text is OUTSIDE, but for the
   * token that stands for no answer.
   */
  kept(outputs: readonly Float32Array[], encoded: Encoded): number[] {
    if (this.kind === 'question_answering') {
      const nowhere = nowhereOf(this.signature, encoded);
      const [starts, ends] = outputs.map((row) => inside(row, 1, encoded, (sequence, token) => sequence === 1 || token === nowhere));
      return [...starts, ...ends];
    }
    if (this.kind === 'token_classification') return inside(outputs[0], this.labels.length, encoded, (sequence) => sequence !== SPECIAL);
    return Array.from(outputs[0]);
  }

  /** What kept outputs say of a text. */
  answer(kept: readonly number[], encoded: Encoded, [text, pair]: readonly string[]): Answer {
    switch (this.kind) {
      case 'classification':
        return this.ranked(kept, this.shares(kept), (_, rank) => rank === 0);
      case 'multi_label':
        return this.several(kept);
      case 'regression':
        return { kind: 'number', value: kept[0] };
      case 'token_classification':
        return this.tags(kept, encoded, text);
      case 'question_answering':
        return span(kept, encoded, pair, this.signature);
    }
  }

  /** The same in one string, as golden.jsonl has it; null of a number. */
  said(kept: readonly number[], encoded: Encoded, [text, pair]: readonly string[]): string | null {
    if (this.kind === 'regression') return null;
    if (this.kind === 'question_answering') return span(kept, encoded, pair, this.signature).text;
    if (this.kind === 'token_classification') return this.tagged(kept, encoded, text).map(({ tag }) => tag).join(' ');
    return this.labels[largest(kept)];
  }

  private several(kept: readonly number[]): Answer {
    const shares = this.signature.output === 'logits' ? kept.map(sigmoid) : kept;
    const least = (place: number) => Math.fround(this.signature.thresholds?.[place] ?? HALF);
    return this.ranked(kept, shares, (place) => shares[place] >= least(place));
  }

  private ranked(kept: readonly number[], shares: readonly number[], given: (place: number, rank: number) => boolean): Answer {
    const order = this.labels.map((_, place) => place).sort((one, other) => kept[other] - kept[one] || one - other);
    const ranked = order.map((place, rank) => ({ name: this.labels[place], probability: shares[place], given: given(place, rank) }));
    return { kind: 'labels', ranked, several: this.kind === 'multi_label' };
  }

  /** Softmax of logits; of probabilities the file's own numbers. */
  private shares(kept: readonly number[]): readonly number[] {
    if (this.signature.output === 'probabilities') return kept;
    const most = kept.reduce((a, b) => Math.max(a, b), -Infinity);
    const powers = kept.map((logit) => Math.exp(logit - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  }

  private tags(kept: readonly number[], encoded: Encoded, text: string): Answer {
    const words = this.tagged(kept, encoded, text);
    const found = entities(words.map(({ tag }) => tag)).map(({ label, first, last }) => {
      const [begin, end] = [words[first].word.begin, words[last].word.end];
      return { label, text: text.slice(begin, end), begin, end };
    });
    return { kind: 'tags', entities: found };
  }

  /** Each word, and its tag: that of its first token. */
  private tagged(kept: readonly number[], encoded: Encoded, text: string): { word: Place; tag: string }[] {
    const words = wordsOf(text);
    const each = this.labels.length;
    return firstTokens(encoded, text, words).map((token, place) => ({
      word: words[place],
      tag: token === null ? NO_ENTITY : this.labels[largest(kept.slice(token * each, (token + 1) * each))],
    }));
  }
}

function inside(row: Float32Array, each: number, { ids, sequences }: Encoded, isInside: (sequence: number, token: number) => boolean): number[] {
  const belongs = (token: number) => isInside(sequences[token], token);
  return Array.from({ length: ids.length * each }, (_, at) => (belongs(Math.floor(at / each)) ? row[at] : OUTSIDE));
}

/** The token that stands for no answer: [CLS], the first, or XLNet's last; null where none does. */
function nowhereOf({ nullThreshold }: Signature, { ids, sequences }: Encoded): number | null {
  if (nullThreshold === null) return null;
  return sequences[0] === SPECIAL ? 0 : ids.length - 1;
}

function span(kept: readonly number[], encoded: Encoded, context: string, signature: Signature): Answer & { kind: 'span' } {
  const { ids, begins, ends, sequences } = encoded;
  const [starts, stops] = [kept.slice(0, ids.length), kept.slice(ids.length)];
  const nowhere = nowhereOf(signature, encoded);
  const nothing = nowhere === null ? null : Math.fround(starts[nowhere] + stops[nowhere]);
  if (nowhere !== null) starts[nowhere] = stops[nowhere] = OUTSIDE;
  const [first, last] = bestSpan(starts, stops);
  const above = nothing === null ? -Infinity : Math.fround(nothing - Math.fround(starts[first] + stops[last]));
  if (above > Math.fround(signature.nullThreshold ?? Infinity)) {
    return { kind: 'span', text: '', begin: 0, end: 0, score: spanScore(starts, stops, nothing, false) };
  }
  const begin = sequences[first] === 1 ? begins[first] : 0;
  const end = sequences[last] === 1 ? ends[last] : 0;
  const place = trimmed(context, { begin, end: Math.max(begin, end) });
  return { kind: 'span', text: context.slice(place.begin, place.end), ...place, score: spanScore(starts, stops, nothing) };
}

/** The place of the largest number, the first of equal ones. */
export function largest(values: readonly number[]): number {
  return values.reduce((best, value, place) => (value > values[best] ? place : best), 0);
}

function sigmoid(logit: number): number {
  return Math.fround(1 / (1 + Math.exp(-logit)));
}
