import { useSyncStatus } from '@pocket/react';
import { useCallback, useEffect, useState } from 'react';
import type { MouseEvent } from 'react';

import type { Keeping } from '../pocket';
import { VIEWS, counted } from '../todos';
import type { Show, StoredTodo } from '../todos';
import { useServiceWorker } from '../useServiceWorker';
import { useTodos } from '../useTodos';
import { useView } from '../useView';
import { AddForm } from './AddForm';
import { Conflicts } from './Conflicts';
import { Notices } from './Notices';
import { SyncState } from './SyncState';
import { TodoList } from './TodoList';

/** How long a deletion can be taken back. */
const UNDO_FOR = 10_000;

const EMPTY: Record<Show, string> = {
  all: 'Nothing to do. Write the first thing above.',
  open: 'Everything is done.',
  done: 'Nothing is done yet.',
};

/** The list and everything around it. */
export function TodoApp({ keeping }: { readonly keeping: Keeping }) {
  const todos = useTodos();
  const status = useSyncStatus();
  const update = useServiceWorker();
  const [show, go] = useView();
  const [said, setSaid] = useState('');
  const [removed, setRemoved] = useState<readonly StoredTodo[]>([]);

  const open = todos.list.filter((todo) => !todo.done);
  const done = todos.list.filter((todo) => todo.done);
  const shown = { all: todos.list, open, done }[show];
  const counts = { all: todos.list.length, open: open.length, done: done.length };

  useEffect(() => {
    document.title = open.length === 0 ? 'To do' : `(${open.length}) To do`;
  }, [open.length]);

  useEffect(() => {
    if (removed.length === 0) return;
    const timer = setTimeout(() => setRemoved([]), UNDO_FOR);
    return () => clearTimeout(timer);
  }, [removed]);

  const remove = useCallback(
    async (gone: readonly StoredTodo[]): Promise<void> => {
      if (!(await todos.remove(gone.map((todo) => todo._id)))) return;
      setRemoved(gone);
      // The button that was pressed is gone with its row.
      document.getElementById('new-todo')?.focus({ preventScroll: true });
    },
    [todos],
  );

  const follow = (event: MouseEvent, path: string): void => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(path);
  };

  return (
    <div className="page">
      <header>
        <h1>To do</h1>
        <SyncState />
      </header>
      {status === 'offline' && (
        <p className="banner" role="note">
          You are offline. Changes are kept on this device and sent when the server can be reached.
        </p>
      )}
      <main>
        <Notices keeping={keeping} failure={todos.failure} readError={todos.error} onClearFailure={todos.clearFailure} />
        <Conflicts attempt={todos.attempt} announce={setSaid} />
        <AddForm onAdd={todos.add} />
        <nav aria-label="Which to show">
          {VIEWS.map((view) => (
            <a
              key={view.show}
              href={view.path}
              aria-current={view.show === show ? 'page' : undefined}
              onClick={(event) => follow(event, view.path)}
            >
              {view.label} <span className="count">{counts[view.show]}</span>
            </a>
          ))}
        </nav>
        {todos.isLoading ? (
          <p className="empty">…</p>
        ) : shown.length === 0 ? (
          <p className="empty">{EMPTY[show]}</p>
        ) : (
          <TodoList
            todos={shown}
            onChange={todos.change}
            onDelete={(todo) => void remove([todo])}
            onMove={(from, to) => todos.move(shown, from, to)}
            announce={setSaid}
          />
        )}
        {done.length > 0 && (
          <p className="foot">
            <button type="button" className="quiet" onClick={() => void remove(done)}>
              Delete what is done
            </button>
          </p>
        )}
      </main>
      <p className="hidden" role="status">
        {said}
      </p>
      <div className="toasts">
        {removed.length > 0 && (
          <div className="toast" role="status">
            <span className="what">Deleted {removed.length === 1 ? `“${removed[0]?.title ?? ''}”` : counted(removed.length, 'to-do')}</span>
            <button type="button" onClick={() => void todos.putBack(removed).then((isStored) => isStored && setRemoved([]))}>
              Undo
            </button>
          </div>
        )}
        {update !== null && (
          <div className="toast" role="status">
            <span className="what">A new version is here</span>
            <button type="button" onClick={update}>
              Reload
            </button>
          </div>
        )}
      </div>
    </div>
  );
}
