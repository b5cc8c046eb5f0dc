// What TypeScript would refuse, for callers without it: the WebAssembly reads whatever it is given as what it expects.

import { DOCUMENT, encode, isBrokenText, isBytes, isDate, isPlainObject } from './encode.js';
import { PocketError } from './error.js';

/** What kind of thing it is, for messages. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return `\`${value}\``;
  return Array.isArray(value) ? 'an array' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Text, as it is. `what` names it in the error. */
export function text(value: unknown, what: string, code: string): string {
  if (typeof value !== 'string') throw new PocketError(code, `${what} is text, not ${kindOf(value)}`);
  if (isBrokenText(value)) throw new PocketError(code, `${what} has half of a surrogate pair`);
  return value;
}

/** The id of a document. */
export function idText(id: unknown): string {
  return text(id, 'the id of a document', 'bad-id');
}

/** Ids, in an array of their own. A text is none, though it could be spread into its letters. */
export function idTexts(ids: unknown): string[] {
  if (!Array.isArray(ids)) throw new PocketError('bad-id', `ids come in an array, not as ${kindOf(ids)}`);
  return ids.map(idText);
}

/** The name of a collection. */
export function collectionName(name: unknown): string {
  return text(name, 'the name of a collection', 'bad-collection-name');
}

function checkDocument(document: unknown, path: string, what = 'a document'): void {
  const isOne = typeof document === 'object' && document !== null && !Array.isArray(document) && !isDate(document) && !isBytes(document);
  if (isOne && isPlainObject(document)) return;
  const name = isOne ? (document as { constructor?: { name?: unknown } }).constructor?.name : undefined;
  const found = typeof name === 'string' && name !== '' ? `an instance of ${name}` : kindOf(document);
  throw new PocketError('validation', `${what} is a plain object, not ${found}`, { path });
}

/** A document as bytes. */
export function encodeDocument(document: unknown): Uint8Array {
  checkDocument(document, '');
  return encode(document, { ...DOCUMENT, level: 1 });
}

/** The fields that an update sets, as bytes. */
export function encodePatch(patch: unknown): Uint8Array {
  checkDocument(patch, '', 'what `update` sets');
  return encode(patch, { ...DOCUMENT, level: 1 });
}

/** Documents as bytes. */
export function encodeDocuments(documents: unknown): Uint8Array {
  if (!Array.isArray(documents)) throw new PocketError('validation', `documents come in an array, not as ${kindOf(documents)}`);
  documents.forEach((document, at) => checkDocument(document, `${at}`));
  return encode(documents, { ...DOCUMENT, level: 2 });
}

/** An option that is an object; `path` is where it stands in the options. */
export function optionObject(value: unknown, what: string, path = ''): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw new PocketError('config', `${what} is an object, not ${kindOf(value)}`, { path });
}

/** An option that is an array, in which no two have the same `name`: the second would quietly replace the first, or be ignored. */
export function optionArray(value: unknown, what: string, path: string): void {
  if (!Array.isArray(value)) throw new PocketError('config', `${what} is an array, not ${kindOf(value)}`, { path });
  const names = new Set<unknown>();
  for (const item of value as unknown[]) {
    const name = typeof item === 'object' && item !== null && 'name' in item ? item.name : undefined;
    if (name !== undefined && names.has(name)) throw new PocketError('config', `${what} has \`${String(name)}\` twice`, { path });
    names.add(name);
  }
}

/**
 * Refuses what a method would silently pass over: an options object given to one that takes none, a listener given to one
 * that answers something to subscribe to.
 */
export function noFurther(given: number, taken: number, what: string): void {
  if (given > taken) throw new PocketError('config', what);
}

/** Options as JSON; what JSON cannot hold is an error about the options. */
export function optionJson(options: unknown): string {
  try {
    return JSON.stringify(options);
  } catch (error) {
    if (error instanceof PocketError) throw error;
    throw new PocketError('config', `the options cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
