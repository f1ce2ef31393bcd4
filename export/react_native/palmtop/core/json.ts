// Reading JSON that others wrote: what isn't there, or is something else, is refused by name.

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json | undefined;
}

/** Something of the model's folder isn't what it has to be, or isn't known to this code; the message names it. */
export class Refused extends Error {}

/** A text as a JSON object. */
export function parsed(text: string, file: string): JsonObject {
  try {
    return object(JSON.parse(text) as Json, file);
  } catch (error) {
    throw error instanceof Refused ? error : new Refused(`${file} is damaged: ${(error as Error).message}`);
  }
}

export function object(value: Json | undefined, name: string): JsonObject {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw wrong(name, 'an object');
  return value as JsonObject;
}

/** An object, or nothing where there is none. */
export function optionalObject(json: JsonObject, key: string): JsonObject | null {
  const value = json[key];
  return value === null || value === undefined ? null : object(value, key);
}

export function list(value: Json | undefined, name: string): readonly Json[] {
  if (!Array.isArray(value)) throw wrong(name, 'a list');
  return value as readonly Json[];
}

export function objects(value: Json | undefined, name: string): JsonObject[] {
  return list(value, name).map((each) => object(each, name));
}

export function text(value: Json | undefined, name: string): string {
  if (typeof value !== 'string') throw wrong(name, 'a text');
  return value;
}

export function number(value: Json | undefined, name: string): number {
  if (typeof value !== 'number') throw wrong(name, 'a number');
  return value;
}

export function numbers(value: Json | undefined, name: string): number[] {
  return list(value, name).map((each) => number(each, name));
}

export function texts(value: Json | undefined, name: string): string[] {
  return list(value, name).map((each) => text(each, name));
}

/** True or false; what is left out is `otherwise`, and must be there where none is given. */
export function flag(json: JsonObject, key: string, otherwise?: boolean): boolean {
  const value = json[key] ?? otherwise;
  if (typeof value !== 'boolean') throw wrong(key, 'true or false');
  return value;
}

function wrong(name: string, wanted: string): Refused {
  return new Refused(`'${name}' isn't ${wanted}, so this is no file that palmtop wrote`);
}
