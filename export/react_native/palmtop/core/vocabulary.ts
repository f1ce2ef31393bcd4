// Tokens, and what they are called.
import { type JsonObject, number } from './json';
import { Piece, utf8 } from './piece';

/** A token's id, and the characters it stands for. */
export interface Token {
  readonly id: number;
  readonly begin: number;
  readonly end: number;
  /** Of a token that was found in the text itself how it is written there, with the spaces that it takes. */
  readonly written?: string;
}

/** Adds the tokens of a piece to `out`. */
export type Model = (piece: Piece, out: Token[]) => void;

/** A token that stands for the code points from `from` to `to` of a piece. */
export function tokenOf(id: number, piece: Piece, from = 0, to = piece.size): Token {
  return { id, begin: piece.begins[from], end: piece.ends[to - 1] };
}

/** Ids by what tokens are called. */
export function vocabulary(json: JsonObject): Map<string, number> {
  return new Map(Object.keys(json).map((token) => [token, number(json[token], token)]));
}

/** The ids that spell a byte each; null where a vocabulary has not all of them. */
export function byteIds(known: ReadonlyMap<string, number>): number[] | null {
  const found = Array.from({ length: 256 }, (_, byte) => known.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`));
  return found.every((id) => id !== undefined) ? (found as number[]) : null;
}

/** The ids that spell code points in bytes. */
export function spelled(points: readonly number[], ids: readonly number[]): number[] {
  const made: number[] = [];
  for (const point of points) for (const byte of utf8(point)) made.push(ids[byte]);
  return made;
}
