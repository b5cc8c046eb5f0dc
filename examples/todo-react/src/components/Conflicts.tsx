import { useConflicts } from '../useConflicts';
import { tell } from '../conflicts';
import { Warning } from './Icons';

interface ConflictsProps {
  announce(text: string): void;
}

/** What was changed on two devices at once: who won, and a way back. */
export function Conflicts({ announce }: ConflictsProps) {
  const { entries, undo, accept } = useConflicts();
  if (entries.length === 0) return null;
  return (
    <section className="conflicts" aria-label="Conflicts" aria-live="polite">
      {entries.map((entry) => {
        const { title, outcome, lost, undo: label } = tell(entry);
        return (
          <article key={entry.number} className="notice conflict" data-winner={entry.winner}>
            <Warning />
            <div>
              <h2>{title}</h2>
              <p>{outcome}</p>
              {lost !== null && <p className="lost">{lost}</p>}
            </div>
            <p className="actions">
              <button type="button" onClick={() => void undo(entry).then(() => announce(`${title}: the other version is back`))}>
                {label}
              </button>
              <button type="button" className="primary" onClick={() => void accept(entry)}>
                Keep it so
              </button>
            </p>
          </article>
        );
      })}
    </section>
  );
}
