import { useRef, useState } from 'react';
import type { FormEvent } from 'react';

interface AddFormProps {
  onAdd(title: string, due: string | null): Promise<boolean>;
}

/** The line in which something new is written. */
export function AddForm({ onAdd }: AddFormProps) {
  const [title, setTitle] = useState('');
  const [due, setDue] = useState('');
  const input = useRef<HTMLInputElement>(null);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    const text = title.trim();
    if (text === '') {
      input.current?.focus();
      return;
    }
    // Emptied only when it is stored: what was typed is not lost on a full disk.
    if (await onAdd(text, due === '' ? null : due)) {
      setTitle('');
      setDue('');
    }
    input.current?.focus();
  };

  return (
    <form className="add" onSubmit={(event) => void submit(event)}>
      <label className="title">
        <span className="hidden">What is to be done</span>
        <input
          id="new-todo"
          ref={input}
          value={title}
          placeholder="What is to be done?"
          autoComplete="off"
          enterKeyHint="done"
          maxLength={500}
          onChange={(event) => setTitle(event.target.value)}
        />
      </label>
      <label className="due">
        <span className="hidden">Due on (optional)</span>
        <input type="date" className={due === '' ? 'empty' : ''} value={due} onChange={(event) => setDue(event.target.value)} />
      </label>
      <button type="submit" className="primary">
        Add
      </button>
    </form>
  );
}
