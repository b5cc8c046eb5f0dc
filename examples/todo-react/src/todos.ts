// What is stored, and what needs no database to be worked out.

/** Something to do. */
export interface Todo {
  /** Made by the database. */
  _id?: string;
  title: string;
  done: boolean;
  /** A day as `2026-11-28`: the same day wherever the device is, which a point in time would not be. */
  due: string | null;
  /** Its place in the list. Between two others there is always a number, so moving one changes one document. */
  position: number;
  createdAt: Date;
}

/** The collections of the database, by their names. */
export interface Collections {
  todos: Todo;
}

/** One that is stored. */
export type StoredTodo = Todo & { readonly _id: string };

/** Whether it is a day of the calendar, written as {@link Todo.due} has it. */
function isDay(due: unknown): due is string {
  if (typeof due !== 'string' || !/^\d{4}-\d{2}-\d{2}$/.test(due)) return false;
  const date = new Date(`${due}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(due);
}

/**
 * A document as this application shows it. Others write into the same collection: a command line, an older version. What is
 * missing or of another kind must not keep the rest of the list from being seen; one that fits is given back as it is.
 */
export function shown<T extends Todo>(todo: T): T {
  const { title, done, due, position } = todo as Partial<Record<keyof Todo, unknown>>;
  if (typeof title === 'string' && typeof done === 'boolean' && (due === null || isDay(due)) && Number.isFinite(position)) return todo;
  return {
    ...todo,
    title: typeof title === 'string' ? title : title === undefined ? '(no title)' : JSON.stringify(title),
    done: done === true,
    due: isDay(due) ? due : null,
    position: typeof position === 'number' && Number.isFinite(position) ? position : 0,
  };
}

export type Show = 'all' | 'open' | 'done';

export const VIEWS: readonly { show: Show; path: string; label: string }[] = [
  { show: 'all', path: '/', label: 'All' },
  { show: 'open', path: '/open', label: 'Open' },
  { show: 'done', path: '/done', label: 'Done' },
];

/** Which view an address is. */
export function viewOf(path: string): Show {
  return VIEWS.find((view) => view.path === path)?.show ?? 'all';
}

/** How far apart places are that are given out anew. */
export const STEP = 1024;

/**
 * A place between two others, either of which may be missing; `null` when there is no number left between them, and the
 * list has to be numbered anew.
 */
export function between(before: number | undefined, after: number | undefined): number | null {
  if (before === undefined) return after === undefined ? 0 : after - STEP;
  if (after === undefined) return before + STEP;
  const middle = (before + after) / 2;
  return middle > before && middle < after ? middle : null;
}

/** The list with one of its entries at another place. */
export function moved<T>(list: readonly T[], from: number, to: number): T[] {
  const rest = list.filter((_, at) => at !== from);
  const entry = list[from];
  return entry === undefined ? [...list] : [...rest.slice(0, to), entry, ...rest.slice(to)];
}

/** A day of this device's calendar, as it is stored. */
export function dayOf(date: Date): string {
  const two = (number: number): string => String(number).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export interface DueLabel {
  readonly text: string;
  readonly tone: 'late' | 'today' | 'later';
}

/** How a due day reads, seen from today. */
export function dueLabel(due: string, today: Date): DueLabel {
  const [year = 0, month = 1, day = 1] = due.split('-').map(Number);
  const date = new Date(year, month - 1, day);
  const start = new Date(today.getFullYear(), today.getMonth(), today.getDate());
  // Rounded, for a day may have 23 or 25 hours.
  const days = Math.round((date.getTime() - start.getTime()) / 86_400_000);
  const format: Intl.DateTimeFormatOptions =
    date.getFullYear() === start.getFullYear()
      ? { weekday: 'short', day: 'numeric', month: 'short' }
      : { day: 'numeric', month: 'short', year: 'numeric' };
  const written = new Intl.DateTimeFormat(undefined, format).format(date);
  if (days < 0) return { text: days === -1 ? 'Yesterday' : written, tone: 'late' };
  if (days === 0) return { text: 'Today', tone: 'today' };
  return { text: days === 1 ? 'Tomorrow' : written, tone: 'later' };
}

/** A count with its noun: `1 change`, `3 changes`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
