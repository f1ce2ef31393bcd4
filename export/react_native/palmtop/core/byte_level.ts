// GPT-2's way with texts (Radford et al. 2019): every byte of UTF-8 is a visible character, and nothing is unknown.
import { flag, type JsonObject } from './json';
import { Piece, PieceBuilder, SPACE, utf8 } from './piece';
import * as unicode from './unicode';

const APOSTROPHE = 0x27;
const CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
const LETTERS = 0;
const NUMBERS = 1;
const SPACES = 2;
const SIGNS = 3;

/** The character that stands for each byte: itself where it is visible, else one from U+0100 on, in their order. */
export const CHARACTERS: readonly number[] = characters();

/** The pre-tokenizer ByteLevel. */
export function byteLevel(json: JsonObject): (piece: Piece) => Piece[] {
  const prefix = flag(json, 'add_prefix_space');
  const splits = flag(json, 'use_regex', true);
  return (piece) => {
    const whole = prefix && piece.points[0] !== SPACE ? piece.prepended(' ') : piece;
    return (splits ? words(whole) : [whole]).map(asBytes);
  };
}

function characters(): number[] {
  let next = 0x100;
  const visible = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  return Array.from({ length: 256 }, (_, byte) => (visible(byte) ? byte : next++));
}

function asBytes(piece: Piece): Piece {
  const made = new PieceBuilder();
  piece.points.forEach((point, place) => {
    for (const byte of utf8(point)) made.copy(CHARACTERS[byte], piece, place);
  });
  return made.build();
}

/** GPT-2's expression: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. */
function words(piece: Piece): Piece[] {
  const made: Piece[] = [];
  let place = 0;
  while (place < piece.size) {
    const end = place + (contraction(piece, place) || word(piece, place) || run(piece, place));
    made.push(piece.slice(place, end));
    place = end;
  }
  return made;
}

/** How long a contraction is here; 0 where there is none. */
function contraction(piece: Piece, place: number): number {
  if (piece.points[place] !== APOSTROPHE) return 0;
  const here = (ending: string) => Array.from(ending).every((letter, at) => piece.points[place + at] === letter.charCodeAt(0));
  return CONTRACTIONS.find(here)?.length ?? 0;
}

/** How long a run of letters, of numbers or of signs is, with one space before it; 0 where there is none. */
function word(piece: Piece, place: number): number {
  const start = piece.points[place] === SPACE ? place + 1 : place;
  if (start === piece.size) return 0;
  const kind = kindOf(piece.points[start]);
  if (kind === SPACES) return 0;
  let end = start;
  while (end < piece.size && kindOf(piece.points[end]) === kind) end++;
  return end - place;
}

/** How long a run of spaces is; its last is left for the word that follows, if there is another. */
function run(piece: Piece, place: number): number {
  let end = place;
  while (end < piece.size && kindOf(piece.points[end]) === SPACES) end++;
  return end < piece.size && end - place > 1 ? end - place - 1 : end - place;
}

function kindOf(point: number): number {
  if (unicode.letters.has(point)) return LETTERS;
  if (unicode.numerals.has(point)) return NUMBERS;
  return unicode.spaces.has(point) ? SPACES : SIGNS;
}
