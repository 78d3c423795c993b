// SPDX-License-Identifier: Apache-2.0
//
// The heap of one process at one moment, or between two: fetches the profiles that the address names
// and hands them to the explorer.
import { memo } from '../ui/memo.js';
import { apiPath } from '../data/api.js';
import { usePage } from '../data/page.js';
import { usePoll } from '../data/poll.js';
import { dateClock } from '../model/format.js';
import { takenAt } from '../model/profile.js';
import { withParams } from '../model/route.js';
import { Empty, Problem } from '../ui/basics.js';
import { HeapExplorer } from './explorer.js';

const Moments = memo(
  ({ label, none, profiles, value, onChange }) => (
    <label class="moment">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">{none}</option>
        {[...profiles].reverse().map(({ unix_s: at }) => (
          <option key={at} value={String(at)}>
            {dateClock(at)}
          </option>
        ))}
        {value && !profiles.some((profile) => String(profile.unix_s) === value) && (
          <option value={value}>{dateClock(Number(value))}</option>
        )}
      </select>
    </label>
  ),
  (a, b) => a.value === b.value && a.profiles.length === b.profiles.length && a.none === b.none,
);

const heapFile = (id, at) =>
  `/p/${encodeURIComponent(id)}/debug/pprof/heap${at ? `?at=${at}` : ''}`;

function Refresh({ profile, process, stored, refresh }) {
  return (
    <span class="taken muted">
      taken {dateClock(takenAt(profile, process, stored))}
      {process.alive && !stored && (
        <button type="button" onClick={() => refresh()}>
          take again
        </button>
      )}
    </span>
  );
}

function Dropped({ profile }) {
  if (!profile.dropped_samples) return null;
  return (
    <p class="note-line">
      {profile.dropped_samples} samples found no room in the process’s tables and are missing here.
    </p>
  );
}

export function HeapView({ process }) {
  const { route, go } = usePage();
  const { at, base } = route.params;
  const now = usePoll(apiPath('profile', route.id, { at }));
  const before = usePoll(base ? apiPath('profile', route.id, { at: base }) : null);
  const set = (patch) => go(withParams(route, { ...patch, focus: '' }));
  const profiles = process.profiles || [];
  const waiting = !now.data || (base && !before.data);
  const problem = now.error || before.error;
  return (
    <section aria-label="heap">
      <div class="tools moments">
        <Moments
          label="profile"
          none={process.alive ? 'now' : 'the last one'}
          profiles={profiles}
          value={at || ''}
          onChange={(value) => set({ at: value })}
        />
        <Moments
          label="compared with"
          none="nothing"
          profiles={profiles}
          value={base || ''}
          onChange={(value) => set({ base: value })}
        />
        <a
          class="download"
          href={heapFile(route.id, at)}
          download={`${process.name}.${process.pid}.pb.gz`}
        >
          download .pb.gz
        </a>
        {now.data && (
          <Refresh profile={now.data} process={process} stored={at} refresh={now.refresh} />
        )}
      </div>
      <Problem text={problem} retry={now.error ? now.refresh : before.refresh} />
      {waiting && !problem && <p class="muted">Asking the server…</p>}
      {!waiting && now.data.samples.length === 0 && !base && (
        <Empty title="No sample yet.">
          <p>
            Mallard samples one allocation in {process.rate_bytes} bytes on average; a young or
            small process may have none. A smaller rate (Commands, “Set the sampling rate”) finds
            more.
          </p>
        </Empty>
      )}
      {!waiting && (now.data.samples.length > 0 || base) && (
        <>
          <Dropped profile={now.data} />
          <HeapExplorer profile={now.data} before={base ? before.data : null} />
        </>
      )}
    </section>
  );
}
