import { isPocketError } from '@pocket/core';

interface Told {
  readonly title: string;
  readonly text: string;
  /** Whether the list can do without the browser's storage. */
  readonly canUseWindow: boolean;
}

/** What an error of opening means for whoever wanted to see their list. */
function told(error: unknown): Told {
  switch (isPocketError(error) ? error.code : '') {
    case 'storage':
      return {
        title: 'This browser gives the page no storage',
        text: 'Private windows and the setting that blocks cookies and site data do that. Allow storage for this site and try again, or go on with a list that is kept in this window only.',
        canUseWindow: true,
      };
    case 'storage-full':
      return {
        title: 'The storage of this device is full',
        text: 'Your list is still there, but it cannot be opened for writing. Make some room and try again.',
        canUseWindow: true,
      };
    case 'in-use':
      return {
        title: 'Another window is busy with the list',
        text: 'It is being updated or removed there. Close the other windows of this list and try again.',
        canUseWindow: false,
      };
    case 'newer-format':
      return {
        title: 'A newer version of this list was here',
        text: 'What it stored can only be read by that version. Reload the page to get it.',
        canUseWindow: false,
      };
    case 'corrupt':
      return {
        title: 'What is stored here is damaged',
        text: 'Nothing of it is shown, so that nothing wrong is shown. If it was synced, clear the data of this site in the settings of the browser: your list then comes back from the server.',
        canUseWindow: true,
      };
    default:
      return { title: 'Your list could not be opened', text: 'Try again, or reload the page.', canUseWindow: true };
  }
}

interface ProblemProps {
  readonly error: unknown;
  onRetry(): void;
  onUseWindow(): void;
}

/** Shown in place of the list when the database cannot be opened. */
export function Problem({ error, onRetry, onUseWindow }: ProblemProps) {
  const { title, text, canUseWindow } = told(error);
  const message = error instanceof Error ? error.message : String(error);
  const code = isPocketError(error) ? error.code : 'unknown';
  return (
    <main className="problem" role="alert" data-code={code}>
      <h1>{title}</h1>
      <p>{text}</p>
      <p className="actions">
        <button type="button" className="primary" onClick={onRetry}>
          Try again
        </button>
        {canUseWindow && (
          <button type="button" onClick={onUseWindow}>
            Use it without storing
          </button>
        )}
      </p>
      <details>
        <summary>Details</summary>
        <p>
          <code>{code}</code>: {message}
        </p>
      </details>
    </main>
  );
}
