import { memo, useEffect, useRef, useState } from 'react';
import type { FormEvent, KeyboardEvent, PointerEvent } from 'react';

import { dueLabel } from '../todos';
import type { StoredTodo, Todo } from '../todos';
import { Bin, Calendar, Grip, Pencil } from './Icons';

type Fields = Partial<Pick<Todo, 'title' | 'done' | 'due'>>;

/** What can be done with a row. */
export type RowActions = {
  readonly change: (todo: StoredTodo, fields: Fields) => Promise<boolean>;
  readonly remove: (todo: StoredTodo) => void;
  readonly grip: (todo: StoredTodo, event: PointerEvent<HTMLButtonElement>) => void;
  readonly step: (todo: StoredTodo, by: -1 | 1) => void;
};

interface TodoRowProps {
  readonly todo: StoredTodo;
  readonly isDragged: boolean;
  /** The same at every render: then only a row whose to-do has changed is rendered again. */
  readonly actions: RowActions;
}

/** One thing to do, to be ticked off, edited, moved and deleted. */
export const TodoRow = memo(function TodoRow({ todo, isDragged, actions }: TodoRowProps) {
  const [isEdited, setIsEdited] = useState(false);
  const edit = useRef<HTMLButtonElement>(null);
  const wasEdited = useRef(false);

  useEffect(() => {
    // Back to where the keyboard was before.
    if (wasEdited.current && !isEdited) edit.current?.focus();
    wasEdited.current = isEdited;
  }, [isEdited]);

  // Shown as ticked at once; a moment later the list says so, too.
  const [ticked, setTicked] = useState<boolean | null>(null);
  useEffect(() => setTicked(null), [todo]);
  const tick = (done: boolean): void => {
    setTicked(done);
    void actions.change(todo, { done }).then((isStored) => !isStored && setTicked(null));
  };

  const step = (event: KeyboardEvent): void => {
    if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return;
    event.preventDefault();
    actions.step(todo, event.key === 'ArrowUp' ? -1 : 1);
  };

  if (isEdited) {
    return (
      <li className="row" data-id={todo._id}>
        <EditForm todo={todo} onChange={(fields) => actions.change(todo, fields)} onEnd={() => setIsEdited(false)} />
      </li>
    );
  }
  const due = todo.due === null ? null : dueLabel(todo.due, new Date());
  return (
    <li className={`row${todo.done ? ' done' : ''}${isDragged ? ' dragged' : ''}`} data-id={todo._id}>
      <button
        type="button"
        className="grip quiet"
        aria-label={`Move ${todo.title}`}
        aria-describedby="how-to-move"
        onPointerDown={(event) => actions.grip(todo, event)}
        onKeyDown={step}
      >
        <Grip />
      </button>
      <label className="tick">
        <input type="checkbox" checked={ticked ?? todo.done} onChange={(event) => tick(event.target.checked)} />
        <span className="text" onDoubleClick={(event) => (event.preventDefault(), setIsEdited(true))}>
          {todo.title}
        </span>
      </label>
      {due !== null && (
        <span className={`pill ${todo.done ? 'later' : due.tone}`}>
          <Calendar />
          <span className="hidden">{due.tone === 'late' && !todo.done ? 'Overdue: ' : 'Due: '}</span>
          {due.text}
        </span>
      )}
      <span className="tools">
        <button type="button" className="quiet" ref={edit} aria-label={`Edit ${todo.title}`} onClick={() => setIsEdited(true)}>
          <Pencil />
        </button>
        <button type="button" className="quiet" aria-label={`Delete ${todo.title}`} onClick={() => actions.remove(todo)}>
          <Bin />
        </button>
      </span>
    </li>
  );
});

interface EditFormProps {
  readonly todo: StoredTodo;
  onChange(fields: Fields): Promise<boolean>;
  onEnd(): void;
}

function EditForm({ todo, onChange, onEnd }: EditFormProps) {
  const [title, setTitle] = useState(todo.title);
  const [due, setDue] = useState(todo.due ?? '');
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => input.current?.select(), []);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    const fields = {
      ...(title.trim() !== '' && title.trim() !== todo.title && { title: title.trim() }),
      ...((due || null) !== todo.due && { due: due || null }),
    };
    if (Object.keys(fields).length === 0 || (await onChange(fields))) onEnd();
  };

  return (
    <form
      className="edit"
      onSubmit={(event) => void submit(event)}
      onKeyDown={(event) => {
        if (event.key === 'Escape') onEnd();
      }}
    >
      <label className="title">
        <span className="hidden">What is to be done</span>
        <input ref={input} value={title} maxLength={500} onChange={(event) => setTitle(event.target.value)} />
      </label>
      <label className="due">
        <span className="hidden">Due on (optional)</span>
        <input type="date" className={due === '' ? 'empty' : ''} value={due} onChange={(event) => setDue(event.target.value)} />
      </label>
      <span className="buttons">
        <button type="submit" className="primary">
          Save
        </button>
        <button type="button" onClick={onEnd}>
          Cancel
        </button>
      </span>
    </form>
  );
}
