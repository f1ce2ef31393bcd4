// Tokens that are looked for in the text itself, such as a literal [MASK], before anything else is.
import { flag, type JsonObject, number, text } from './json';
import type { Normalizer } from './normalizers';
import { Piece } from './piece';
import * as unicode from './unicode';

interface AddedToken {
  readonly id: number;
  readonly points: readonly number[];
  readonly singleWord: boolean;
  readonly takesSpacesBefore: boolean;
  readonly takesSpacesAfter: boolean;
}

/** A part of a text: of a token its id, of what lies between null. */
export interface Part {
  readonly piece: Piece;
  readonly id: number | null;
}

export type Splitter = (piece: Piece) => Part[];

/** Those that are looked for in the text as it is written, and those looked for after `normalizer` was at work. */
export function addedTokens(json: readonly JsonObject[], normalizer: Normalizer): { asWritten: Splitter; asNormalized: Splitter } {
  const later = (row: JsonObject) => flag(row, 'normalized', false);
  const tokens = (rows: readonly JsonObject[], changed: Normalizer) =>
    splitter(rows.map((row) => token(row, changed)).filter((made) => made.points.length > 0));
  return {
    asWritten: tokens(json.filter((row) => !later(row)), (piece) => piece),
    asNormalized: tokens(json.filter(later), normalizer),
  };
}

function token(json: JsonObject, changed: Normalizer): AddedToken {
  return {
    id: number(json.id, 'id'),
    points: changed(Piece.of(text(json.content, 'content'))).points,
    singleWord: flag(json, 'single_word', false),
    takesSpacesBefore: flag(json, 'lstrip', false),
    takesSpacesAfter: flag(json, 'rstrip', false),
  };
}

/** The longest token at each place, from left to right, and what lies between. */
function splitter(tokens: readonly AddedToken[]): Splitter {
  const byFirst = new Map<number, AddedToken[]>();
  for (const each of tokens) byFirst.set(each.points[0], [...(byFirst.get(each.points[0]) ?? []), each]);
  for (const of of byFirst.values()) of.sort((one, other) => other.points.length - one.points.length);
  return (piece) => {
    const made: Part[] = [];
    let [done, place] = [0, 0];
    while (place < piece.size) {
      const found = byFirst.get(piece.points[place])?.find((each) => isAt(each, piece, place));
      if (found === undefined) {
        place++;
        continue;
      }
      const after = place + found.points.length;
      if (!found.singleWord || isAlone(piece, place, after)) {
        const from = found.takesSpacesBefore ? Math.max(done, spacesBefore(piece, place)) : place;
        const to = found.takesSpacesAfter ? spacesAfter(piece, after) : after;
        if (from > done) made.push({ piece: piece.slice(done, from), id: null });
        made.push({ piece: piece.slice(from, to), id: found.id });
        done = to;
      }
      place = Math.max(after, done);
    }
    if (done < piece.size) made.push({ piece: piece.slice(done, piece.size), id: null });
    return made;
  };
}

function isAt(token: AddedToken, piece: Piece, place: number): boolean {
  return token.points.every((point, at) => piece.points[place + at] === point);
}

function isAlone(piece: Piece, from: number, to: number): boolean {
  const free = (place: number) => place < 0 || place >= piece.size || !unicode.wordCharacters.has(piece.points[place]);
  return free(from - 1) && free(to);
}

function spacesBefore(piece: Piece, place: number): number {
  let from = place;
  while (from > 0 && unicode.whitespace.has(piece.points[from - 1])) from--;
  return from;
}

function spacesAfter(piece: Piece, place: number): number {
  let to = place;
  while (to < piece.size && unicode.whitespace.has(piece.points[to])) to++;
  return to;
}
