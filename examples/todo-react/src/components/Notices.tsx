import { isPocketError } from '@pocket/core';
import type { PocketError } from '@pocket/core';
import { useSync } from '@pocket/react';
import { useState } from 'react';
import type { ReactNode } from 'react';

import type { Keeping } from '../pocket';
import type { Failure } from '../useTodos';
import { Cross, Warning } from './Icons';

interface NoticeProps {
  readonly title: string;
  readonly children: ReactNode;
  readonly actions?: ReactNode;
  readonly code?: string;
}

function Notice({ title, children, actions, code }: NoticeProps) {
  return (
    <div className="notice" role="alert" data-code={code}>
      <Warning />
      <div>
        <h2>{title}</h2>
        <p>{children}</p>
      </div>
      {actions !== undefined && <p className="actions">{actions}</p>}
    </div>
  );
}

interface NoticesProps {
  readonly keeping: Keeping;
  readonly failure: Failure | null;
  readonly readError: PocketError | null;
  onClearFailure(): void;
}

/** What the user must know: that nothing is kept, that a change was not stored, that the list is another server's. */
export function Notices({ keeping, failure, readError, onClearFailure }: NoticesProps) {
  return (
    <>
      {keeping === 'window' && (
        <p className="notice mild" role="note">
          <Warning />
          <span>The browser stores nothing for this page. Changes are synced, but what was not sent is gone when this window closes.</span>
        </p>
      )}
      {readError !== null && <ReadProblem error={readError} />}
      {failure !== null && <WriteProblem failure={failure} onClear={onClearFailure} />}
      <OtherServer />
    </>
  );
}

function ReadProblem({ error }: { readonly error: PocketError }) {
  const reload = (
    <button type="button" className="primary" onClick={() => window.location.reload()}>
      Reload
    </button>
  );
  const text =
    error.code === 'closed'
      ? 'Its data was removed, or a newer version of the page runs in another window.'
      : `What is shown may be old. ${error.message}`;
  return (
    <Notice title={error.code === 'closed' ? 'The list was closed' : 'The list could not be read'} code={error.code} actions={reload}>
      {text}
    </Notice>
  );
}

function WriteProblem({ failure, onClear }: { readonly failure: Failure; onClear(): void }) {
  const close = (
    <button type="button" className="quiet" aria-label="Close this message" onClick={onClear}>
      <Cross />
    </button>
  );
  if (failure.code === 'storage-full') {
    return (
      <Notice title="The storage of this device is full" code={failure.code} actions={close}>
        Your last change was not stored, and nothing else was lost. Make some room on the device, or delete what is done, and
        try again.
      </Notice>
    );
  }
  return (
    <Notice title="Your last change was not stored" code={failure.code} actions={close}>
      {failure.message}
    </Notice>
  );
}

const ELSEWHERE = ['other-lineage', 'other-namespace', 'other-user'];

/** The list was synced with another server, or with this one before its database was made anew. */
function OtherServer() {
  const { engine, stats } = useSync();
  const [isBusy, setIsBusy] = useState(false);
  const [failed, setFailed] = useState('');
  const code = stats?.lastError?.code;
  if (engine === null || code === undefined || !ELSEWHERE.includes(code)) return null;

  const leave = async (how: 'detach' | 'wipe'): Promise<void> => {
    setIsBusy(true);
    setFailed('');
    try {
      await engine.stop();
      await (how === 'detach' ? engine.detach() : engine.wipe());
    } catch (error) {
      setFailed(isPocketError(error) ? error.message : String(error));
    } finally {
      await engine.start();
      setIsBusy(false);
    }
  };

  return (
    <Notice
      title="This list belongs to another server"
      code={code}
      actions={
        <>
          <button type="button" disabled={isBusy} onClick={() => void leave('wipe')}>
            Take the server’s list
          </button>
          <button type="button" className="primary" disabled={isBusy} onClick={() => void leave('detach')}>
            Add mine to it
          </button>
        </>
      }
    >
      {failed === ''
        ? 'It was synced with a server that is not the one here now. Nothing is sent or received before you choose: add what is on this device to the list of this server, or drop it and take the server’s.'
        : failed}
    </Notice>
  );
}
