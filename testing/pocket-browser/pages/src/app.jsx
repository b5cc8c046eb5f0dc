// A component for each hook. Each shows what its hook gives, and counts how often what it shows was made anew.
import {
  useCollection,
  useDatabase,
  useDocument,
  useFindOne,
  useLiveQuery,
  useMutation,
  useObservable,
  useOnlineStatus,
  useQuery,
  useSuspenseLiveQuery,
  useSync,
  useSyncStats,
  useSyncStatus,
} from '@pocket/react';
import { Component, Suspense, useEffect, useState } from 'react';

globalThis.renders = {};

/** The keys of an object in the order of the alphabet, as the test has them. */
const sorted = (_, value) =>
  value?.constructor === Object ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;

/** Shows a value under a name, and counts. */
function Shown({ name, value }) {
  useEffect(() => {
    renders[name] = (renders[name] ?? 0) + 1;
  });
  return <output id={name}>{JSON.stringify(value, sorted)}</output>;
}

const ids = (notes) => notes.map((note) => note._id);
const result = ({ data, isLoading, error }, show) => ({ data: show(data), isLoading, error: error?.code ?? null });

function InDatabase() {
  return <Shown name="useDatabase" value={useDatabase().name} />;
}

function InCollection() {
  const same = useCollection('notes') === useDatabase().collection('notes');
  return <Shown name="useCollection" value={same} />;
}

function Live({ least, enabled }) {
  const live = useLiveQuery('notes', (query) => query.where('n').gte(least).sort('n', 'asc').limit(3), [least], { enabled });
  return <Shown name="useLiveQuery" value={result(live, ids)} />;
}

function Missing() {
  return <Shown name="missing" value={result(useLiveQuery('nowhere'), ids)} />;
}

function Once() {
  const once = useQuery('notes', (query) => query.where('n').gte(0).sort('n', 'asc'));
  return (
    <>
      <Shown name="useQuery" value={result(once, ids)} />
      <button onClick={once.refresh}>refresh</button>
    </>
  );
}

function One({ id }) {
  return <Shown name="useDocument" value={result(useDocument('notes', id), (note) => note?.n ?? null)} />;
}

function First() {
  // A new filter at each render, which is the same all the same.
  return <Shown name="useFindOne" value={result(useFindOne('notes', { n: { $gt: 1 } }), (note) => note?._id ?? null)} />;
}

function Mutate() {
  const notes = useCollection('notes');
  const insert = useMutation((id, n) => notes.insert({ _id: id, n }));
  return (
    <>
      <Shown name="useMutation" value={{ isLoading: insert.isLoading, error: insert.error?.code ?? null, data: insert.data?._id ?? null }} />
      <button onClick={() => insert.mutate('of the button', 5)}>insert</button>
      <button onClick={insert.reset}>reset</button>
    </>
  );
}

function Status() {
  return <Shown name="useSyncStatus" value={useSyncStatus()} />;
}

function Stats() {
  return <Shown name="useSyncStats" value={useSyncStats().pushCount} />;
}

function Sync() {
  const { status, stats, progress, forceSync, ...rest } = useSync();
  const [code, setCode] = useState(null);
  return (
    <>
      <Shown name="useSync" value={{ status, pending: stats.pendingCount, first: progress.firstSyncComplete, code, more: Object.keys(rest).sort() }} />
      <button onClick={() => forceSync().then(() => setCode('ok'), (error) => setCode(error.code))}>force sync</button>
    </>
  );
}

function Leads() {
  return <Shown name="useObservable" value={useObservable(useSync().engine?.isLeader ?? null) ?? null} />;
}

function Online() {
  return <Shown name="useOnlineStatus" value={useOnlineStatus()} />;
}

function Suspended() {
  const { data } = useSuspenseLiveQuery('notes', (query) => query.where('n').lt(3).sort('n', 'desc'));
  return <Shown name="useSuspenseLiveQuery" value={ids(data)} />;
}

function SuspendedNowhere() {
  return <Shown name="never" value={useSuspenseLiveQuery('nowhere').data} />;
}

/** Shows the error of what is below it. */
class Boundary extends Component {
  state = { code: null };

  static getDerivedStateFromError(error) {
    return { code: error.code };
  }

  render() {
    return this.state.code === null ? this.props.children : <output id="boundary">{this.state.code}</output>;
  }
}

export function App() {
  const [least, setLeast] = useState(0);
  const [enabled, setEnabled] = useState(true);
  const [id, setId] = useState('one');
  const [fails, setFails] = useState(false);
  const [shown, setShown] = useState(true);
  return (
    <>
      <button onClick={() => setLeast((before) => before + 1)}>more</button>
      <button onClick={() => setEnabled((before) => !before)}>toggle</button>
      <button onClick={() => setId((before) => (before === 'one' ? 'two' : 'one'))}>other</button>
      <button onClick={() => setFails(true)}>fail</button>
      <button onClick={() => setShown((before) => !before)}>show</button>
      {shown && (
        <>
          <InDatabase />
          <InCollection />
          <Live least={least} enabled={enabled} />
          <Missing />
          <Once />
          <One id={id} />
          <First />
          <Mutate />
          <Status />
          <Stats />
          <Sync />
          <Leads />
          <Online />
          <Suspense fallback={<output id="waiting">waiting</output>}>
            <Suspended />
          </Suspense>
          {fails && (
            <Boundary>
              <Suspense fallback={null}>
                <SuspendedNowhere />
              </Suspense>
            </Boundary>
          )}
        </>
      )}
    </>
  );
}
