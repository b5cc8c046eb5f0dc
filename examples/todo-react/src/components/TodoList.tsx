import { useEffect, useRef, useState } from 'react';
import type { PointerEvent as ReactPointerEvent } from 'react';

import { moved } from '../todos';
import type { StoredTodo, Todo } from '../todos';
import { useStable } from '../useStable';
import { TodoRow } from './TodoRow';
import type { RowActions } from './TodoRow';

interface TodoListProps {
  readonly todos: readonly StoredTodo[];
  onChange(id: string, fields: Partial<Pick<Todo, 'title' | 'done' | 'due'>>): Promise<boolean>;
  onDelete(todo: StoredTodo): void;
  onMove(from: number, to: number): Promise<boolean>;
  /** Says something to those who do not see the list. */
  announce(text: string): void;
}

interface Drag {
  readonly from: number;
  readonly to: number;
}

/** The list. Rows are moved by their grips: with a pointer, or with the arrow keys. */
export function TodoList({ todos, onChange, onDelete, onMove, announce }: TodoListProps) {
  const [drag, setDrag] = useState<Drag | null>(null);
  const list = useRef<HTMLUListElement>(null);
  // Where a row was dropped is shown until the list says so, too.
  useEffect(() => setDrag(null), [todos]);

  const shown = drag === null ? todos : moved(todos, drag.from, drag.to);

  const grip = (todo: StoredTodo, event: ReactPointerEvent<HTMLButtonElement>): void => {
    const from = todos.indexOf(todo);
    if (event.button !== 0 || from === -1) return;
    event.preventDefault();
    const { pointerId } = event;
    const handle = event.currentTarget;
    let current: Drag = { from, to: from };
    // The handle moves in the document while its row is dragged; what is heard of the pointer must not depend on it.
    const follow = (move: PointerEvent): void => {
      if (move.pointerId !== pointerId) return;
      const rows = [...(list.current?.children ?? [])].map((row) => row.getBoundingClientRect());
      const over = rows.findIndex((row) => move.clientY < row.bottom);
      const to = over === -1 ? rows.length - 1 : over;
      if (to !== current.to) setDrag((current = { from, to }));
    };
    const end = (up: PointerEvent): void => {
      if (up.pointerId !== pointerId) return;
      window.removeEventListener('pointermove', follow);
      window.removeEventListener('pointerup', end);
      window.removeEventListener('pointercancel', end);
      const isDropped = up.type === 'pointerup' && current.to !== from;
      if (!isDropped) setDrag(null);
      else void onMove(from, current.to).then((isStored) => !isStored && setDrag(null));
      handle.focus();
    };
    window.addEventListener('pointermove', follow);
    window.addEventListener('pointerup', end);
    window.addEventListener('pointercancel', end);
    setDrag(current);
  };

  const step = async (todo: StoredTodo, by: -1 | 1): Promise<void> => {
    const from = todos.indexOf(todo);
    const to = from + by;
    if (from === -1 || to < 0 || to >= todos.length) return;
    if (await onMove(from, to)) announce(`${todo.title} is now number ${to + 1} of ${todos.length}`);
  };

  const actions = useStable<RowActions>({
    change: (todo, fields) => onChange(todo._id, fields),
    remove: onDelete,
    grip,
    step: (todo, by) => void step(todo, by),
  });

  return (
    <>
      <p id="how-to-move" className="hidden">
        Drag it, or move it with the arrow keys.
      </p>
      <ul className={`list${drag === null ? '' : ' dragging'}`} ref={list} aria-label="To do">
        {shown.map((todo) => (
          <TodoRow key={todo._id} todo={todo} isDragged={drag !== null && todos[drag.from] === todo} actions={actions} />
        ))}
      </ul>
    </>
  );
}
