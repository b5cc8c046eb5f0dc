// What the tabs of one team tell each other.

/**
 * The version of what tabs tell each other. After a deployment tabs of different versions are open beside each other: who
 * leads is settled between them all the same, so messages without content never change; others are for tabs of one version.
 */
export const VERSION = 1;

/** What a message says. */
export type Content =
  | { readonly kind: 'hello' | 'ping' | 'pong' | 'busy' | 'leading' | 'halt' }
  | { readonly kind: 'snapshot'; readonly snapshot: string; readonly purpose?: string }
  | { readonly kind: 'told'; readonly topic: string; readonly payload: unknown }
  | { readonly kind: 'kept'; readonly topic: string; readonly kept: Kept }
  | { readonly kind: 'call'; readonly id: number; readonly method: string }
  | { readonly kind: 'result'; readonly to: string; readonly id: number; readonly error?: { readonly code: string; readonly message: string } };

/** A message, and whose it is. */
export type Message = Content & { readonly from: string; readonly version: number };

/** What all tabs are to know, also those that come later. */
export interface Kept {
  /** The time of day, but later than what it replaces. The latest counts, and of equal ones that with the greater `by`. */
  readonly since: number;
  /** Who said it. */
  readonly by: string;
  readonly payload: unknown;
}
