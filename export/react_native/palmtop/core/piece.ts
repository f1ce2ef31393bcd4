// A part of a text on its way to tokens: code points, and for each the characters of the text that it stands for. As in
// Hugging Face's NormalizedString, a change of the text keeps for every new code point where it comes from.

export const SPACE = 0x20;
const REPLACEMENT = 0xfffd;

export class Piece {
  /** begins, ends: in UTF-16 units of the text. */
  constructor(
    readonly points: readonly number[],
    readonly begins: readonly number[],
    readonly ends: readonly number[],
  ) {}

  /** Of a whole text; lone halves of surrogate pairs become U+FFFD, as they do on their way to UTF-8. */
  static of(text: string): Piece {
    const made = new PieceBuilder();
    let place = 0;
    while (place < text.length) {
      const point = text.codePointAt(place) as number;
      const next = place + (point > 0xffff ? 2 : 1);
      made.add(point >= 0xd800 && point < 0xe000 ? REPLACEMENT : point, place, next);
      place = next;
    }
    return made.build();
  }

  get size(): number {
    return this.points.length;
  }

  slice(from: number, to: number): Piece {
    return new Piece(this.points.slice(from, to), this.begins.slice(from, to), this.ends.slice(from, to));
  }

  /** The code points from `from` to `to` as a string. */
  text(from = 0, to = this.size): string {
    return textOf(this.points, from, to);
  }

  /** With `text` in front, which stands for what the first code point stands for. Nothing is put before nothing. */
  prepended(text: string): Piece {
    if (this.size === 0) return this;
    const made = new PieceBuilder();
    for (const point of pointsOf(text)) made.copy(point, this, 0);
    for (let place = 0; place < this.size; place++) made.copy(this.points[place], this, place);
    return made.build();
  }
}

/** Puts a piece together, code point by code point. */
export class PieceBuilder {
  private readonly points: number[] = [];
  private readonly begins: number[] = [];
  private readonly ends: number[] = [];

  add(point: number, begin: number, end: number): void {
    this.points.push(point);
    this.begins.push(begin);
    this.ends.push(end);
  }

  /** Add a code point that stands for what the one at `place` of `from` stands for. */
  copy(point: number, from: Piece, place: number): void {
    this.add(point, place < 0 ? 0 : from.begins[place], place < 0 ? 0 : from.ends[place]);
  }

  build(): Piece {
    return new Piece(this.points, this.begins, this.ends);
  }
}

export function pointsOf(text: string): number[] {
  return Array.from(text, (letter) => letter.codePointAt(0) as number);
}

export function textOf(points: readonly number[], from = 0, to = points.length): string {
  let made = '';
  for (let place = from; place < to; place++) made += String.fromCodePoint(points[place]);
  return made;
}

/** The bytes of a code point in UTF-8: not every JavaScript engine of phones has a TextEncoder. */
export function utf8(point: number): number[] {
  if (point < 0x80) return [point];
  const last = (shift: number) => 0x80 | ((point >> shift) & 0x3f);
  if (point < 0x800) return [0xc0 | (point >> 6), last(0)];
  if (point < 0x10000) return [0xe0 | (point >> 12), last(6), last(0)];
  return [0xf0 | (point >> 18), last(12), last(6), last(0)];
}
