// The sum at the end of a dump, for who writes one and who reads one.

import { PocketError } from './error.js';

/** The SHA-256 of a text in UTF-8, in lower-case hexadecimal. */
export async function sumOf(text: string): Promise<string> {
  const { subtle } = (globalThis as { crypto?: { subtle?: SubtleCrypto } }).crypto ?? {};
  if (subtle === undefined) throw new PocketError('config', 'a dump ends with its SHA-256, for which this page needs Web Crypto: serve it by https: or on localhost');
  const sum = new Uint8Array(await subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
