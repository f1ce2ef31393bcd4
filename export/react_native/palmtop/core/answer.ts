// What a model says to one text, or to one pair.

/** A label of a classifier. */
export interface Label {
  readonly name: string;
  /** From 0 to 1. */
  readonly probability: number;
  /** Whether the model gives this label to the text: of one label the most probable, of several those that reach their
   * thresholds. */
  readonly given: boolean;
}

/** An entity as it stands in a text: `text.slice(begin, end)`. */
export interface Entity {
  readonly label: string;
  readonly text: string;
  readonly begin: number;
  readonly end: number;
}

/** By its kind: labels, the most probable first; entities in the order of the text; a span of the context; a number. */
export type Answer =
  | { readonly kind: 'labels'; readonly ranked: readonly Label[]; readonly several: boolean }
  | { readonly kind: 'tags'; readonly entities: readonly Entity[] }
  | { readonly kind: 'span'; readonly text: string; readonly begin: number; readonly end: number; readonly score: number }
  | { readonly kind: 'number'; readonly value: number };
