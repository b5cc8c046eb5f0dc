// What became of a change that met another one: told in the words of a to-do list.

import type { JournalEntry, JournalVersion } from '@pocket/core';

import { dueLabel, shown } from './todos.ts';
import type { Todo } from './todos.ts';

type Field = 'title' | 'done' | 'due';
const FIELDS: readonly Field[] = ['title', 'done', 'due'];

type Entry = JournalEntry<Todo>;
type Document = Entry['documents'][number];

/** Whose change stands: that of this device, that of the other one, or for some fields the one and for some the other. */
export type Won = 'here' | 'there' | 'both';

/** A conflict as it is shown. */
export interface Told {
  /** What it is about. */
  readonly title: string;
  /** Who won. */
  readonly outcome: string;
  /** What lost, in words; null when nothing did. */
  readonly lost: string | null;
  /** What undoing it is called. */
  readonly undo: string;
}

/** The fields that both sides changed, each in its own way. */
function clashes(base: Todo | null, local: Todo, remote: Todo): Field[] {
  return FIELDS.filter((field) => local[field] !== remote[field] && base?.[field] !== local[field] && base?.[field] !== remote[field]);
}

function value(stored: Todo, field: Field): string {
  const todo = shown(stored);
  if (field === 'title') return `“${todo.title}”`;
  if (field === 'done') return todo.done ? 'done' : 'not done';
  return todo.due === null ? 'no due date' : `due ${dueLabel(todo.due, new Date()).text}`;
}

/** A version in words: of what differs, or deleted. */
function words(version: JournalVersion<Todo> | null, fields: readonly Field[]): string {
  const todo = version?.document ?? null;
  if (todo === null) return 'deleted it';
  return `said ${fields.map((field) => value(todo, field)).join(', ')}`;
}

/**
 * Whether an entry is worth a person's time. Where the fields of both sides were put together, or only places in the list
 * clashed, nobody lost anything they would miss.
 */
export function matters(entry: Entry): boolean {
  return entry.kind !== 'conflict' || entry.documents.some((document) => lostFields(document) !== null);
}

/** What is different between the sides, or null when nothing was lost that is shown or can be brought back. */
function lostFields({ base, local, remote, erased }: Document): Field[] | null {
  if (erased) return null;
  const [ours, theirs] = [local.document, remote?.document ?? null];
  if (ours === null || theirs === null) return ours === theirs ? null : ['title'];
  const fields = clashes(base?.document ?? null, ours, theirs);
  return fields.length === 0 ? null : fields;
}

/**
 * Whose change stands. An entry of merged fields does not say for which of them which side won; what the document is after
 * it does.
 */
export function won(entry: Entry, now: readonly (Todo | null)[]): Won {
  if (entry.winner === 'local') return 'here';
  if (entry.winner !== 'merged') return 'there';
  const standing = entry.documents.flatMap((document, at) => {
    const [ours, theirs, stands] = [document.local.document, document.remote?.document ?? null, now[at] ?? null];
    return (lostFields(document) ?? []).map((field) => {
      if (stands?.[field] === ours?.[field]) return 'here';
      return stands?.[field] === theirs?.[field] ? 'there' : 'both';
    });
  });
  const [first = 'both'] = standing;
  return standing.every((one) => one === first) ? first : 'both';
}

/** What the other side made of the fields that clashed, of an entry whose fields were merged. */
export function theirFields(entry: Entry): { readonly id: string; readonly fields: Partial<Pick<Todo, Field>> }[] {
  return entry.documents.flatMap((document) => {
    const theirs = document.remote?.document;
    const lost = lostFields(document);
    if (!theirs || lost === null) return [];
    return [{ id: document.documentId, fields: Object.fromEntries(lost.map((field) => [field, theirs[field]])) }];
  });
}

const OUTCOME: Record<Won, string> = {
  here: 'Changed on two devices at once. Your change won: it is the later one.',
  there: 'Changed on two devices at once. The other device won: its change is the later one.',
  both: 'Changed on two devices at once. A part of each change stands.',
};

export function tell(entry: Entry, winner: Won): Told {
  const document = entry.documents.find((one) => lostFields(one) !== null) ?? entry.documents[0];
  const [mineNow, theirsNow] = [document?.local.document, document?.remote?.document];
  // By the name under which it stands in the list, where it does.
  const known = (winner === 'there' ? (theirsNow ?? mineNow) : (mineNow ?? theirsNow)) ?? document?.base?.document ?? null;
  const more = entry.documents.length > 1 ? ` and ${entry.documents.length - 1} more` : '';
  const title = `${known === null ? 'A deleted to-do' : `“${shown(known).title}”`}${more}`;
  if (entry.kind !== 'conflict') {
    const reason = entry.reason ?? entry.code ?? 'it gave no reason';
    return { title, outcome: `The server did not accept your change: ${reason}.`, lost: null, undo: 'Try again' };
  }
  const fields = (document === undefined ? null : lostFields(document)) ?? FIELDS;
  const mine = `You ${words(document?.local ?? null, fields)}.`;
  const theirs = `The other device ${words(document?.remote ?? null, fields)}.`;
  const lost = { here: theirs, there: mine, both: `${mine} ${theirs}` }[winner];
  return { title, outcome: OUTCOME[winner], lost, undo: winner === 'here' ? 'Use theirs' : 'Use mine' };
}
