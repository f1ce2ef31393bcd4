// Splits a text into the pieces within which tokens are sought: the `pre_tokenizer` of tokenizer.json.
import { byteLevel } from './byte_level';
import { flag, type JsonObject, objects, Refused, text } from './json';
import { Piece, SPACE } from './piece';
import * as unicode from './unicode';

export type PreTokenizer = (piece: Piece) => Piece[];

/** How a code point is grouped with its neighbours: those of ALONE each by itself, those of NOTHING left out. */
const NOTHING = 0;
const INSIDE = 1;
const SIGNS = 2;
const ALONE = 3;
const SCHEMES = ['always', 'first', 'never'];

/** The pre-tokenizer that tokenizer.json describes; one that splits nothing for null. */
export function preTokenizer(json: JsonObject | null): PreTokenizer {
  if (json === null) return (piece) => [piece];
  const type = text(json.type, 'type');
  switch (type) {
    case 'Sequence':
      return inTurn(objects(json.pretokenizers, 'pretokenizers').map(preTokenizer));
    case 'BertPreTokenizer':
      return inTurn([atSpaces, isolated(unicode.bertPunctuation)]);
    case 'WhitespaceSplit':
      return atSpaces;
    case 'Whitespace':
      return words;
    case 'Punctuation':
      return punctuation(json);
    case 'Digits':
      return digits(flag(json, 'individual_digits'));
    case 'ByteLevel':
      return byteLevel(json);
    case 'Metaspace':
      return metaspace(json);
    default:
      throw new Refused(`the pre-tokenizer '${type}' isn't known to this code`);
  }
}

function inTurn(steps: readonly PreTokenizer[]): PreTokenizer {
  return (whole) =>
    steps.reduce<Piece[]>((pieces, step) => {
      const made: Piece[] = [];
      for (const piece of pieces) made.push(...step(piece).filter((part) => part.size > 0));
      return made;
    }, [whole]);
}

function atSpaces(piece: Piece): Piece[] {
  return grouped(piece, (point) => (unicode.whitespace.has(point) ? NOTHING : INSIDE));
}

/** Runs of letters and the like, and runs of other signs. */
function words(piece: Piece): Piece[] {
  return grouped(piece, (point) => (unicode.wordCharacters.has(point) ? INSIDE : unicode.spaces.has(point) ? NOTHING : SIGNS));
}

function punctuation(json: JsonObject): PreTokenizer {
  const behavior = text(json.behavior ?? 'Isolated', 'behavior');
  if (behavior !== 'Isolated') throw new Refused(`the pre-tokenizer 'Punctuation' with behavior '${behavior}' isn't known to this code`);
  return isolated(unicode.punctuation);
}

function digits(each: boolean): PreTokenizer {
  if (each) return isolated(unicode.digits);
  return (piece) => grouped(piece, (point) => (unicode.digits.has(point) ? SIGNS : INSIDE));
}

function isolated(alone: unicode.CodePointSet): PreTokenizer {
  return (piece) => grouped(piece, (point) => (alone.has(point) ? ALONE : INSIDE));
}

function metaspace(json: JsonObject): PreTokenizer {
  const sign = text(json.replacement, 'replacement');
  const scheme = text(json.prepend_scheme ?? (flag(json, 'add_prefix_space', true) ? 'always' : 'never'), 'prepend_scheme');
  if (!SCHEMES.includes(scheme)) throw new Refused(`the pre-tokenizer 'Metaspace' with '${scheme}' isn't known to this code`);
  const splits = flag(json, 'split', true);
  const point = sign.codePointAt(0) as number;
  return (piece) => {
    const signed = new Piece(piece.points.map((one) => (one === SPACE ? point : one)), piece.begins, piece.ends);
    const first = scheme === 'always' || (scheme === 'first' && signed.begins[0] === 0);
    const whole = first && signed.points[0] !== point ? signed.prepended(sign) : signed;
    return splits ? before(whole, point) : [whole];
  };
}

/** Split before every `point`. */
function before(piece: Piece, point: number): Piece[] {
  const starts: number[] = [];
  piece.points.forEach((one, place) => {
    if (place === 0 || one === point) starts.push(place);
  });
  return starts.map((start, at) => piece.slice(start, starts[at + 1] ?? piece.size));
}

/** Runs of code points of one group. */
function grouped(piece: Piece, group: (point: number) => number): Piece[] {
  const made: Piece[] = [];
  let [start, last] = [0, NOTHING];
  for (let place = 0; place <= piece.size; place++) {
    const found = place < piece.size ? group(piece.points[place]) : NOTHING;
    if (found === last && found !== ALONE) continue;
    if (last !== NOTHING && place > start) made.push(piece.slice(start, place));
    start = place;
    last = found;
  }
  return made;
}
