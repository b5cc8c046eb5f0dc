import { isPocketError } from '@pocket/core';
import type { JournalEntry } from '@pocket/core';
import { useDatabase, useSync } from '@pocket/react';
import { useCallback, useEffect, useRef, useState } from 'react';

import { matters, theirFields, won } from './conflicts';
import type { Won } from './conflicts';
import type { Collections, Todo } from './todos';

export interface OpenConflict {
  readonly entry: JournalEntry<Todo>;
  readonly won: Won;
}

/** The conflicts that nobody has looked at yet, and what can be done about them. */
export function useConflicts() {
  const database = useDatabase<Collections>();
  const { journal } = database;
  const todos = database.collection('todos');
  const { stats } = useSync();
  const [conflicts, setConflicts] = useState<readonly OpenConflict[]>([]);
  // Who won is told as it was when the conflict was first seen: the document may change again.
  const seen = useRef(new Map<number, Won>());

  const read = useCallback(async (): Promise<void> => {
    const open = await journal.list<Todo>({ state: 'open', collection: 'todos', limit: 50 });
    const shown: OpenConflict[] = [];
    for (const entry of open) {
      if (matters(entry)) {
        const known = seen.current.get(entry.number);
        const winner = known ?? won(entry, await todos.getMany(entry.documents.map(({ documentId }) => documentId)));
        seen.current.set(entry.number, winner);
        shown.push({ entry, won: winner });
      } else {
        // What cost nobody anything is not held up to them; it stays in the journal.
        await settle(() => journal.dismiss(entry.number));
      }
    }
    setConflicts(shown);
  }, [journal, todos]);

  useEffect(() => {
    const look = (): void => {
      read().catch((error: unknown) => console.warn('the journal cannot be read:', error));
    };
    look();
    // What another window did about an entry changes no document: look again when somebody comes back to this one.
    window.addEventListener('focus', look);
    return () => window.removeEventListener('focus', look);
  }, [read, stats?.conflictCount, stats?.rejectedCount, stats?.openConflicts]);

  /** Writes again what lost. It syncs as an edit of this moment. */
  const undo = async ({ entry, won: winner }: OpenConflict): Promise<void> => {
    await settle(async () => {
      if (entry.winner !== 'merged' || winner !== 'here') return journal.restore(entry.number);
      // `restore` brings back what was written here. Here it is the other side that lost, and only in these fields.
      for (const { id, fields } of theirFields(entry)) await todos.update(id, fields);
      return journal.dismiss(entry.number);
    });
    await read();
  };

  const accept = async ({ entry }: OpenConflict): Promise<void> => {
    await settle(() => journal.dismiss(entry.number));
    await read();
  };

  return { conflicts, undo, accept };
}

/** What leaves nothing to be done: another window was faster, or the document is gone. */
const SETTLED = ['journal-entry-closed', 'journal-entry-erased', 'document-not-found', 'document-deleted'];

async function settle(action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!isPocketError(error) || !SETTLED.includes(error.code)) throw error;
  }
}
