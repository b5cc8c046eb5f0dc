import { isPocketError } from '@pocket/core';
import { useDatabase, useLiveQuery } from '@pocket/react';
import { useCallback, useMemo, useState } from 'react';

import { STEP, between, moved, shown as showable } from './todos';
import type { Collections, StoredTodo, Todo } from './todos';

/** Why a change was not stored. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

/** The list, kept up to date, and what can be done with it. Each action says whether it was stored. */
export function useTodos() {
  const database = useDatabase<Collections>();
  const todos = database.collection('todos');
  const { data: stored, isLoading, error } = useLiveQuery(todos, (query) => query.sort('position'));
  const list = useMemo(() => stored.map((todo) => showable(todo)), [stored]);
  const [failure, setFailure] = useState<Failure | null>(null);

  const attempt = useCallback(async (action: () => Promise<unknown>): Promise<boolean> => {
    try {
      await action();
      setFailure(null);
      return true;
    } catch (caught) {
      // Somebody else deleted it a moment ago: the list shows that already.
      if (isPocketError(caught, 'document-not-found') || isPocketError(caught, 'document-deleted')) return true;
      const code = isPocketError(caught) ? caught.code : 'unknown';
      setFailure({ code, message: caught instanceof Error ? caught.message : String(caught) });
      return false;
    }
  }, []);

  const add = (title: string, due: string | null): Promise<boolean> =>
    attempt(() => {
      const last = list.at(-1);
      return todos.insert({ title, due, done: false, position: between(last?.position, undefined) ?? 0, createdAt: new Date() });
    });

  // Only the fields that change: what another device does to the others meanwhile stands.
  const change = (id: string, fields: Partial<Pick<Todo, 'title' | 'done' | 'due'>>): Promise<boolean> =>
    attempt(() => todos.update(id, fields));

  const remove = (ids: readonly string[]): Promise<boolean> => attempt(() => todos.deleteMany(ids));

  const putBack = (removed: readonly StoredTodo[]): Promise<boolean> => attempt(() => todos.upsertMany(removed));

  /** Moves an entry within `shown`, which may be a part of the list. */
  const move = (shown: readonly StoredTodo[], from: number, to: number): Promise<boolean> =>
    attempt(async () => {
      const order = moved(shown, from, to);
      const entry = order[to];
      if (entry === undefined || from === to) return;
      const position = between(order[to - 1]?.position, order[to + 1]?.position);
      if (position !== null) {
        await todos.update(entry._id, { position });
        return;
      }
      // No number is left between the two: all get new ones, as one change.
      const rest = list.filter((other) => other !== entry);
      const before = order[to - 1];
      const all = moved([entry, ...rest], 0, before === undefined ? 0 : rest.indexOf(before) + 1);
      await database.transaction((transaction) => {
        const collection = transaction.collection('todos');
        all.forEach((todo, at) => collection.update(todo._id, { position: at * STEP }));
      });
    });

  return {
    list,
    isLoading,
    error,
    failure,
    attempt,
    clearFailure: () => setFailure(null),
    add,
    change,
    remove,
    putBack,
    move,
  };
}
