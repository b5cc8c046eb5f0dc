import { useDatabase, useOnlineStatus, useSync } from '@pocket/react';
import type { SyncStats, SyncStatus } from '@pocket/sync';
import { useEffect, useId, useState } from 'react';

import { isReplaced } from '../pocket';
import { counted } from '../todos';
import { Arrows, Cloud, CloudOff, Warning } from './Icons';
import { useInstall } from './useInstall';

interface Shown {
  readonly label: string;
  Icon(): React.JSX.Element;
}

const ELSEWHERE: Shown = { label: 'Synced by another window', Icon: Cloud };

const LABELS: Record<SyncStatus, Shown> = {
  idle: { label: 'Synced', Icon: Cloud },
  syncing: { label: 'Syncing', Icon: Arrows },
  offline: { label: 'Offline', Icon: CloudOff },
  error: { label: 'Sync problem', Icon: Warning },
};

/** The button that says how sync is, and opens what there is to know about it. */
export function SyncState() {
  const { status, stats, forceSync } = useSync();
  const [isOpen, setIsOpen] = useState(false);
  const panel = useId();
  if (stats === null) return null;
  const isElsewhere = isReplaced(stats);
  const { label, Icon } = isElsewhere ? ELSEWHERE : LABELS[status];

  return (
    <div
      className="sync"
      onKeyDown={(event) => {
        if (event.key === 'Escape') setIsOpen(false);
      }}
    >
      <button
        type="button"
        className={`badge ${isElsewhere ? 'idle' : status}`}
        data-status={status}
        data-pending={stats.pendingCount}
        aria-expanded={isOpen}
        aria-controls={panel}
        onClick={() => setIsOpen(!isOpen)}
      >
        <Icon />
        <span>
          {label}
          {stats.pendingCount > 0 && (
            <>
              {' '}
              · {stats.pendingCount}
              <span className="spelled"> to send</span>
            </>
          )}
        </span>
      </button>
      {/* What comes and goes with each change is not read out. */}
      <p className="hidden" role="status">
        {status === 'offline' || status === 'error' ? label : ''}
      </p>
      <div id={panel} className="panel" hidden={!isOpen}>
        {isOpen && <Panel status={status} stats={stats} forceSync={forceSync} />}
      </div>
    </div>
  );
}

interface PanelProps {
  readonly status: SyncStatus;
  readonly stats: SyncStats;
  forceSync(): Promise<void>;
}

function Panel({ status, stats, forceSync }: PanelProps) {
  const database = useDatabase();
  const hasNetwork = useOnlineStatus();
  const install = useInstall();
  const [failed, setFailed] = useState('');
  const [persistence, setPersistence] = useState('');

  useEffect(() => {
    let left = false;
    database.persistence().then(
      (answer) => !left && setPersistence(answer),
      () => undefined,
    );
    return () => {
      left = true;
    };
  }, [database]);

  const syncNow = (): void => {
    setFailed('');
    forceSync().catch((error: unknown) => setFailed(error instanceof Error ? error.message : String(error)));
  };

  return (
    <>
      <p>{sentence(status, stats, hasNetwork)}</p>
      <dl>
        <dt>Last in step</dt>
        <dd>{stats.lastSyncAt === null ? 'not yet' : moment(new Date(stats.lastSyncAt))}</dd>
        <dt>Sent, received</dt>
        <dd>
          {stats.pushCount}, {stats.pullCount}
        </dd>
        <dt>Conflicts</dt>
        <dd>{stats.conflictCount}</dd>
        {persistence !== '' && (
          <>
            <dt>On this device</dt>
            <dd>{persistence === 'persistent' ? 'kept until you remove it' : 'kept while there is room'}</dd>
          </>
        )}
      </dl>
      {failed !== '' && (
        <p className="error" role="alert">
          {failed}
        </p>
      )}
      <p className="actions">
        <button type="button" onClick={syncNow}>
          Sync now
        </button>
        {install !== null && (
          <button type="button" onClick={install}>
            Install
          </button>
        )}
      </p>
    </>
  );
}

/** A time; with its day, if that is not today. */
function moment(date: Date): string {
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString() : date.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}

function sentence(status: SyncStatus, stats: SyncStats, hasNetwork: boolean): string {
  if (isReplaced(stats)) return 'Another window of this list is connected, and this one shows what it brings.';
  const waiting = stats.pendingCount === 0 ? 'Nothing waits to be sent.' : `${counted(stats.pendingCount, 'change')} will be sent.`;
  switch (status) {
    case 'idle':
      return 'Everything is on the server and on this device.';
    case 'syncing':
      return `Changes are on their way. ${waiting}`;
    case 'offline':
      return `${hasNetwork ? 'The server cannot be reached.' : 'This device has no network.'} You can go on: changes are kept here. ${waiting}`;
    case 'error':
      return `${stats.lastError?.message ?? 'Something needs attention.'} ${waiting}`;
  }
}
