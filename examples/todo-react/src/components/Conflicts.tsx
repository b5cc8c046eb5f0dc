import { useConflicts } from '../useConflicts';
import { tell } from '../conflicts';
import { Warning } from './Icons';

interface ConflictsProps {
  /** Does something that stores, and says whether it did. */
  attempt(action: () => Promise<unknown>): Promise<boolean>;
  announce(text: string): void;
}

/** What was changed on two devices at once: who won, and a way back. */
export function Conflicts({ attempt, announce }: ConflictsProps) {
  const { conflicts, undo, accept } = useConflicts();
  if (conflicts.length === 0) return null;
  return (
    <section className="conflicts" aria-label="Conflicts" aria-live="polite">
      {conflicts.map((conflict) => {
        const { entry, won } = conflict;
        const { title, outcome, lost, undo: label } = tell(entry, won);
        return (
          <article key={entry.number} className="notice conflict" data-won={won}>
            <Warning />
            <div>
              <h2>{title}</h2>
              <p>{outcome}</p>
              {lost !== null && <p className="lost">{lost}</p>}
            </div>
            <p className="actions">
              <button
                type="button"
                onClick={() => {
                  void attempt(() => undo(conflict)).then((isStored) => isStored && announce(`${title}: the other version is back`));
                }}
              >
                {label}
              </button>
              <button type="button" className="primary" onClick={() => void attempt(() => accept(conflict))}>
                Keep it so
              </button>
            </p>
          </article>
        );
      })}
    </section>
  );
}
