import { isPocketError } from '@pocket/core';
import type { JournalEntry } from '@pocket/core';
import { useDatabase, useSync } from '@pocket/react';
import { useCallback, useEffect, useState } from 'react';

import { matters } from './conflicts';
import type { Todo } from './todos';

/** The conflicts that nobody has looked at yet, and what can be done about them. */
export function useConflicts() {
  const { journal } = useDatabase();
  const { stats } = useSync();
  const [entries, setEntries] = useState<readonly JournalEntry<Todo>[]>([]);

  const read = useCallback(async (): Promise<void> => {
    const open = await journal.list<Todo>({ state: 'open', collection: 'todos', limit: 50 });
    setEntries(open.filter(matters));
    // What cost nobody anything is not held up to them; it stays in the journal.
    for (const entry of open.filter((one) => !matters(one))) await settle(() => journal.dismiss(entry.number));
  }, [journal]);

  const { conflictCount, rejectedCount, openConflicts } = stats;
  useEffect(() => {
    void read();
    // What another window did about an entry changes no document: look again when somebody comes back to this one.
    const look = (): void => void read();
    window.addEventListener('focus', look);
    return () => window.removeEventListener('focus', look);
  }, [read, conflictCount, rejectedCount, openConflicts]);

  const act = async (action: () => Promise<unknown>): Promise<void> => {
    await settle(action);
    await read();
  };

  return {
    entries,
    /** Writes again what lost. It syncs as an edit of this moment. */
    undo: (entry: JournalEntry<Todo>) => act(() => journal.restore(entry.number)),
    accept: (entry: JournalEntry<Todo>) => act(() => journal.dismiss(entry.number)),
  };
}

/** Another window may have been faster; then there is nothing left to do. */
async function settle(action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!isPocketError(error, 'journal-entry-closed') && !isPocketError(error, 'journal-entry-erased')) throw error;
  }
}
