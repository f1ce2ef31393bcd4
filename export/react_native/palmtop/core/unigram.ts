// The most probable way to put a piece together of tokens (Kudo 2018), by Viterbi's algorithm.
import { flag, type JsonObject, list, number, Refused, text } from './json';
import type { Piece } from './piece';
import { byteIds, type Model, spelled, type Token, tokenOf } from './vocabulary';

/** How much less probable than any token an unknown code point is; a constant of SentencePiece. */
const PENALTY = 10;
const NONE = -1;
const UNKNOWN = -2;

interface Known {
  readonly ids: ReadonlyMap<string, number>;
  readonly scores: readonly number[];
  readonly unknown: number | null;
  readonly bytes: readonly number[] | null;
  /** Longest token in code points. */
  readonly longest: number;
  readonly unknownScore: number;
}

export function unigram(json: JsonObject): Model {
  const rows = list(json.vocab, 'vocab').map((row) => list(row, 'vocab'));
  const ids = new Map(rows.map(([token], id) => [text(token, 'vocab'), id]));
  const scores = rows.map(([, score]) => number(score, 'vocab'));
  const known: Known = {
    ids,
    scores,
    unknown: typeof json.unk_id === 'number' ? json.unk_id : null,
    bytes: flag(json, 'byte_fallback', false) ? byteIds(ids) : null,
    longest: rows.reduce((most, [token]) => Math.max(most, text(token, 'vocab').length), 0),
    unknownScore: scores.reduce((least, score) => Math.min(least, score), Infinity) - PENALTY,
  };
  return (piece, out) => {
    for (const [from, to] of ranges(piece, known)) out.push(...told(piece, from, to, known));
  };
}

/** Where tokens begin and end on the best way; unknown code points that follow each other are one. */
function ranges(piece: Piece, known: Known): [number, number][] {
  const { begins, tokens } = best(piece, known);
  const found: [number, number][] = [];
  let pending = NONE; // the end of unknown code points that are told as one
  for (let end = piece.size; end > 0; end = begins[end]) {
    if (tokens[end] === (known.unknown ?? UNKNOWN)) {
      if (pending === NONE) pending = end;
      continue;
    }
    if (pending !== NONE) found.push([end, pending]);
    pending = NONE;
    found.push([begins[end], end]);
  }
  if (pending !== NONE) found.push([0, pending]);
  return found.reverse();
}

function told(piece: Piece, from: number, to: number, { ids, bytes, unknown }: Known): Token[] {
  const id = ids.get(piece.text(from, to));
  if (id !== undefined) return [tokenOf(id, piece, from, to)];
  if (bytes !== null) return spelled(piece.points.slice(from, to), bytes).map((byte) => tokenOf(byte, piece, from, to));
  if (unknown === null) throw new Refused(`Unigram without an unknown token met '${piece.text(from, to)}'`);
  return [tokenOf(unknown, piece, from, to)];
}

/** For each place where a token of the best way there begins, and which token that is. */
function best(piece: Piece, { ids, scores, unknown, longest, unknownScore }: Known): { begins: number[]; tokens: number[] } {
  const begins = new Array<number>(piece.size + 1).fill(NONE);
  const tokens = new Array<number>(piece.size + 1).fill(NONE);
  const reached = new Array<number>(piece.size + 1).fill(0);
  const offer = (from: number, to: number, token: number, score: number) => {
    if (begins[to] !== NONE && score <= reached[to]) return;
    begins[to] = from;
    tokens[to] = token;
    reached[to] = score;
  };
  for (let from = 0; from < piece.size; from++) {
    let single = false;
    let word = '';
    for (let to = from + 1; to <= Math.min(piece.size, from + longest); to++) {
      word += piece.text(to - 1, to);
      const id = ids.get(word);
      if (id === undefined) continue;
      single = single || to === from + 1;
      offer(from, to, id, reached[from] + scores[id]);
    }
    if (!single) offer(from, from + 1, unknown ?? UNKNOWN, reached[from] + unknownScore);
  }
  return { begins, tokens };
}
