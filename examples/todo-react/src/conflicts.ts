// What became of a change that met another one: told in the words of a to-do list.

import type { JournalEntry, JournalVersion } from '@pocket/core';

import { dueLabel } from './todos';
import type { Todo } from './todos';

type Field = 'title' | 'done' | 'due';
const FIELDS: readonly Field[] = ['title', 'done', 'due'];

/** A conflict as it is shown. */
export interface Told {
  /** What it is about. */
  readonly title: string;
  /** Who won. */
  readonly outcome: string;
  /** What was lost, in words; null when nothing was. */
  readonly lost: string | null;
  /** What undoing it is called. */
  readonly undo: string;
}

/** The fields that both sides changed, each in its own way. */
function clashes(base: Todo | null, local: Todo, remote: Todo): Field[] {
  return FIELDS.filter((field) => local[field] !== remote[field] && base?.[field] !== local[field] && base?.[field] !== remote[field]);
}

function value(todo: Todo, field: Field): string {
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
export function matters(entry: JournalEntry<Todo>): boolean {
  return entry.kind !== 'conflict' || entry.documents.some((document) => !document.erased && lostFields(document) !== null);
}

/** What is different between the sides, or null when nothing that is shown was lost. */
function lostFields({ base, local, remote }: JournalEntry<Todo>['documents'][number]): Field[] | null {
  const [ours, theirs] = [local.document, remote?.document ?? null];
  if (ours === null || theirs === null) return ours === theirs ? null : ['title'];
  const fields = clashes(base?.document ?? null, ours, theirs);
  return fields.length === 0 ? null : fields;
}

export function tell(entry: JournalEntry<Todo>): Told {
  const document = entry.documents.find((one) => lostFields(one) !== null) ?? entry.documents[0];
  const known = document?.local.document ?? document?.remote?.document ?? document?.base?.document ?? null;
  const more = entry.documents.length > 1 ? ` and ${entry.documents.length - 1} more` : '';
  const title = `${known === null ? 'A deleted to-do' : `“${known.title}”`}${more}`;
  if (entry.kind === 'refusal') {
    const reason = entry.reason ?? 'it gave no reason';
    return { title, outcome: `The server did not accept your change: ${reason}.`, lost: null, undo: 'Try again' };
  }
  const fields = (document === undefined ? null : lostFields(document)) ?? FIELDS;
  const mine = `You ${words(document?.local ?? null, fields)}.`;
  const theirs = `The other device ${words(document?.remote ?? null, fields)}.`;
  if (winnerIsHere(entry)) {
    return { title, outcome: 'Changed on two devices at once. Your change won: it is the later one.', lost: theirs, undo: 'Use theirs' };
  }
  return { title, outcome: 'Changed on two devices at once. The other device won: its change is the later one.', lost: mine, undo: 'Use mine' };
}

/** Whether what stands is what was written here. Of merged fields, `restore` brings back what was written here. */
function winnerIsHere(entry: JournalEntry<Todo>): boolean {
  return entry.winner === 'local';
}
