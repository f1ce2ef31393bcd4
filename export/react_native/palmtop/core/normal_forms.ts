// Unicode's normal forms (Unicode Standard Annex 15), with where each code point comes from.
import { Piece, PieceBuilder } from './piece';
import * as unicode from './unicode';

/**
 * Code points on their way through a normal form. `changes` says of each how it came about, as in the Rust crate that
 * Hugging Face's tokenizers rest on: 0 in place of one, 1 beside one, -n in place of 1 + n.
 */
interface Changed {
  readonly points: readonly number[];
  readonly changes: readonly number[];
}

/** NFD, or with `compatibility` NFKD. */
export function apart(piece: Piece, compatibility: boolean): Piece {
  return over(decomposed(piece, compatibility), piece);
}

/** NFC, or with `compatibility` NFKC. */
export function together(piece: Piece, compatibility: boolean): Piece {
  const parts = decomposed(piece, compatibility);
  const points: number[] = [];
  const changes: number[] = [];
  let [starter, lastClass] = [-1, 0];
  parts.points.forEach((point, at) => {
    const kind = unicode.combiningClass(point);
    const blocked = starter >= 0 && points.length - 1 > starter && lastClass >= kind;
    const whole = starter >= 0 && !blocked ? unicode.composed(points[starter], point) : undefined;
    if (whole !== undefined) {
      points[starter] = whole;
      changes[starter] += parts.changes[at] - 1;
      return;
    }
    points.push(point);
    changes.push(parts.changes[at]);
    if (kind === 0) starter = points.length - 1;
    lastClass = kind;
  });
  return over({ points, changes }, piece);
}

function decomposed(piece: Piece, compatibility: boolean): Changed {
  const points: number[] = [];
  const changes: number[] = [];
  for (const point of piece.points) {
    (unicode.decomposition(point, compatibility) ?? [point]).forEach((part, at) => {
      points.push(part);
      changes.push(at === 0 ? 0 : 1);
    });
  }
  const order = ordered(points);
  return { points: order.map((at) => points[at]), changes: order.map((at) => changes[at]) };
}

/** Places in canonical order: marks that follow each other sorted by their classes, those of one class as they stood. */
function ordered(points: readonly number[]): number[] {
  const order: number[] = [];
  let marks: number[] = [];
  const flush = () => {
    order.push(...marks.sort((a, b) => unicode.combiningClass(points[a]) - unicode.combiningClass(points[b]) || a - b));
    marks = [];
  };
  points.forEach((point, place) => {
    if (unicode.combiningClass(point) !== 0) {
      marks.push(place);
      return;
    }
    flush();
    order.push(place);
  });
  flush();
  return order;
}

/** As a piece; `source` is the piece that was changed. */
function over({ points, changes }: Changed, source: Piece): Piece {
  const made = new PieceBuilder();
  let place = 0;
  points.forEach((point, at) => {
    if (changes[at] > 0) {
      made.copy(point, source, place - 1);
      return;
    }
    made.copy(point, source, place);
    place += 1 - changes[at];
  });
  return made.build();
}
