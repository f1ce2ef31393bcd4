// What a tokenizer does to a text before it is split: the `normalizer` of tokenizer.json.
import { flag, type JsonObject, object, objects, Refused, text } from './json';
import { apart, together } from './normal_forms';
import { Piece, PieceBuilder, pointsOf, SPACE } from './piece';
import * as unicode from './unicode';

export type Normalizer = (piece: Piece) => Piece;

/** Runs of two spaces and more: the one regular expression that tokenizers of this kind use. */
const RUN = ' {2,}';

/** The normalizer that tokenizer.json describes; one that changes nothing for null. */
export function normalizer(json: JsonObject | null): Normalizer {
  if (json === null) return (piece) => piece;
  const type = text(json.type, 'type');
  switch (type) {
    case 'Sequence':
      return inTurn(objects(json.normalizers, 'normalizers').map(normalizer));
    case 'BertNormalizer':
      return bert(json);
    case 'NFC':
      return (piece) => together(piece, false);
    case 'NFD':
      return (piece) => apart(piece, false);
    case 'NFKC':
      return (piece) => together(piece, true);
    case 'NFKD':
      return (piece) => apart(piece, true);
    case 'Lowercase':
      return lowercase;
    case 'StripAccents':
      return (piece) => without(piece, unicode.marks);
    case 'Strip':
      return strip(flag(json, 'strip_left'), flag(json, 'strip_right'));
    case 'Replace':
      return replacement(json);
    case 'Prepend':
      return prepend(text(json.prepend, 'prepend'));
    default:
      throw new Refused(`the normalizer '${type}' isn't known to this code`);
  }
}

function inTurn(steps: readonly Normalizer[]): Normalizer {
  return (whole) => steps.reduce((piece, step) => step(piece), whole);
}

function bert(json: JsonObject): Normalizer {
  const lower = flag(json, 'lowercase');
  const steps: Normalizer[] = [];
  if (flag(json, 'clean_text')) steps.push(cleaned);
  if (flag(json, 'handle_chinese_chars')) steps.push(alone);
  if (flag(json, 'strip_accents', lower)) steps.push((piece) => without(apart(piece, false), unicode.nonspacingMarks));
  if (lower) steps.push(lowercase);
  return inTurn(steps);
}

/** Each code point made into others, none of which stands for anything else. */
function each(piece: Piece, made: (point: number) => readonly number[]): Piece {
  const built = new PieceBuilder();
  piece.points.forEach((point, place) => made(point).forEach((one) => built.copy(one, piece, place)));
  return built.build();
}

function cleaned(piece: Piece): Piece {
  return each(piece, (point) => (unicode.control.has(point) ? [] : [unicode.cleanedToSpace.has(point) ? SPACE : point]));
}

/** Ideographs with a space on either side. */
function alone(piece: Piece): Piece {
  return each(piece, (point) => (unicode.ideographs.has(point) ? [SPACE, point, SPACE] : [point]));
}

function lowercase(piece: Piece): Piece {
  return each(piece, (point) => unicode.lower(point) ?? [point]);
}

function without(piece: Piece, removed: unicode.CodePointSet): Piece {
  return each(piece, (point) => (removed.has(point) ? [] : [point]));
}

function prepend(prefix: string): Normalizer {
  return (piece) => piece.prepended(prefix);
}

function strip(left: boolean, right: boolean): Normalizer {
  return (piece) => {
    let [from, to] = [0, piece.size];
    while (left && from < to && unicode.whitespace.has(piece.points[from])) from++;
    while (right && to > from && unicode.whitespace.has(piece.points[to - 1])) to--;
    return piece.slice(from, to);
  };
}

function replacement(json: JsonObject): Normalizer {
  const pattern = object(json.pattern, 'pattern');
  const content = pointsOf(text(json.content, 'content'));
  if (pattern.String !== undefined) {
    const wanted = pointsOf(text(pattern.String, 'String'));
    if (wanted.length === 0) throw new Refused("the normalizer 'Replace' of nothing isn't known to this code");
    return (piece) => replaced(piece, content, (place) => matched(piece, wanted, place));
  }
  const expression = text(pattern.Regex, 'Regex');
  if (expression !== RUN) throw new Refused(`the normalizer 'Replace' of the expression '${expression}' isn't known to this code`);
  return (piece) => replaced(piece, content, (place) => spacesAt(piece, place));
}

/** Every new code point stands for what the last one that is replaced stood for, as in Hugging Face's. */
function replaced(piece: Piece, content: readonly number[], found: (place: number) => number): Piece {
  const made = new PieceBuilder();
  let place = 0;
  while (place < piece.size) {
    const count = found(place);
    if (count === 0) {
      made.copy(piece.points[place], piece, place);
      place++;
    } else {
      place += count;
      for (const point of content) made.copy(point, piece, place - 1);
    }
  }
  return made.build();
}

function matched(piece: Piece, wanted: readonly number[], place: number): number {
  return wanted.every((point, at) => piece.points[place + at] === point) ? wanted.length : 0;
}

function spacesAt(piece: Piece, place: number): number {
  let end = place;
  while (piece.points[end] === SPACE) end++;
  return end - place > 1 ? end - place : 0;
}
