// What runs a model: the one thing of an app that differs by the format of the model's file.
import type { InputName } from '../core/folder';

/** A text's numbers by the names of the model's inputs, padded to one length. */
export type Feeds = Readonly<Record<InputName, Int32Array>>;

export interface Runtime {
  /** Outputs of one padded text: one, or start and end logits of a span. */
  run(feeds: Feeds, length: number): Promise<readonly Float32Array[]>;
}

/** A runtime that isn't open yet. */
export interface RuntimeSource {
  /** With its version: golden answers that passed count for this very runtime. */
  readonly name: string;
  /** The one length that it runs texts at; null where signature.json says at which. */
  readonly length: number | null;
  open(): Promise<Runtime>;
}
