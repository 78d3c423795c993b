// SPDX-License-Identifier: Apache-2.0
//
// A host that never was: every document of the server's API, made from a seed, so that the page can
// be built and tested without one. The same seed gives the same bytes; `now` is given, not asked.
//
// Process 4711 leaks and has everything; 812 is a database of ten thousand stacks; 2001 was killed
// by the kernel for memory, 2002 by SIGKILL; 77 has just begun and knows nothing yet.

const MIB = 1024 * 1024;
const HOUR = 3600;

export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const ns = (seconds) => Math.round(seconds * 1e9);

function processesAt(now) {
  const base = {
    alive: true,
    life: 'running',
    uid: 0,
    user: 'root',
    unit: '',
    container: '',
    pod: '',
    ended_unix_ns: 0,
    growth_bytes_per_hour: null,
    samples: 0,
    rate_bytes: 524288,
    death: null,
  };
  const oom =
    'killed by the kernel: the cgroup /system.slice/importer.service reached its limit of 512 MiB (peak 512 MiB, 1 OOM kill)';
  return [
    {
      ...base,
      id: '4711.880',
      pid: 4711,
      name: 'order-service',
      exe: '/usr/bin/order-service',
      uid: 1000,
      user: 'shop',
      cmdline: 'order-service --listen 0.0.0.0:8443 --database postgres://orders --workers 8',
      unit: 'order-service.service',
      started_unix_ns: ns(now - 5.2 * HOUR),
      rss_bytes: 1843 * MIB,
      live_bytes: 1213 * MIB,
      growth_bytes_per_hour: 212 * MIB,
      samples: 2426,
    },
    {
      ...base,
      id: '812.301',
      pid: 812,
      name: 'redis-server',
      exe: '/usr/bin/redis-server',
      uid: 105,
      user: 'redis',
      cmdline: 'redis-server 127.0.0.1:6379',
      unit: 'redis-server.service',
      started_unix_ns: ns(now - 61 * HOUR),
      rss_bytes: 640 * MIB,
      live_bytes: 598 * MIB,
      growth_bytes_per_hour: -3.1 * MIB,
      samples: 1190,
    },
    {
      ...base,
      id: '3320.77',
      pid: 3320,
      name: 'python3.11',
      exe: '/usr/bin/python3.11',
      user: 'batch',
      uid: 1001,
      cmdline: 'python3 /srv/batch/nightly.py --year 2026',
      container: '9f2c81d0a4be',
      pod: 'batch/nightly-28231-x7kq2',
      started_unix_ns: ns(now - 1400),
      rss_bytes: 212 * MIB,
      live_bytes: 171 * MIB,
      growth_bytes_per_hour: 18 * MIB,
      samples: 340,
    },
    {
      ...base,
      id: '77.12',
      pid: 77,
      name: 'sh',
      exe: '/usr/bin/dash',
      cmdline: 'sh -c exec sleep 1',
      started_unix_ns: ns(now - 4),
      rss_bytes: 1.4 * MIB,
      live_bytes: 20480,
    },
    {
      ...base,
      id: '2001.55',
      pid: 2001,
      name: 'importer',
      exe: '/opt/importer/bin/importer',
      alive: false,
      life: 'gone',
      cmdline: '/opt/importer/bin/importer --all',
      unit: 'importer.service',
      started_unix_ns: ns(now - 3.1 * HOUR),
      ended_unix_ns: ns(now - 700),
      rss_bytes: 511 * MIB,
      live_bytes: 487 * MIB,
      growth_bytes_per_hour: 163 * MIB,
      samples: 971,
      death: { kind: 'oom', signal: 9, exit_code: 0, sentence: oom },
    },
    {
      ...base,
      id: '2002.56',
      pid: 2002,
      name: 'worker',
      exe: '/opt/importer/bin/worker',
      alive: false,
      life: 'gone',
      cmdline: '/opt/importer/bin/worker 3',
      started_unix_ns: ns(now - 2 * HOUR),
      ended_unix_ns: ns(now - 65),
      rss_bytes: 88 * MIB,
      live_bytes: 61 * MIB,
      growth_bytes_per_hour: 1.2 * MIB,
      samples: 122,
      death: { kind: 'signal', signal: 9, exit_code: 0, sentence: 'killed by SIGKILL' },
    },
  ];
}

export const processesDocument = (now) => ({
  now_unix_ns: ns(now),
  host: 'edge-07',
  version: '0.1.0',
  daemon: true,
  processes: processesAt(now),
});

// Shares of RSS that are not live objects; the rest takes what is left, so the parts always add up.
const SHARES = [
  ['free_in_spans', 'free in spans', 0.155],
  ['cpu_caches', 'free in caches', 0.032],
  ['free_pages', 'free pages, not returned yet', 0.068],
  ['tables', 'allocator tables', 0.024],
  ['profiler', 'profiler', 0.004],
  ['stacks', 'thread stacks', 0.006],
  ['code_files', 'code and files', 0.021],
];

function partsOf(process) {
  const { rss_bytes: rss, live_bytes: live } = process;
  const room = rss - live;
  const scale = Math.min(1, room / (rss * 0.32));
  const parts = [{ key: 'live', label: 'live objects', bytes: live }];
  for (const [key, label, share] of SHARES)
    parts.push({ key, label, bytes: Math.floor(rss * share * scale) });
  const used = parts.reduce((sum, part) => sum + part.bytes, 0);
  parts.push({ key: 'rest', label: 'the rest', bytes: Math.max(0, rss - used) });
  return parts;
}

const CLASS_SIZES = [
  16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1280,
  1536, 2048, 2688, 3200, 4096, 5376, 6528, 8192, 10240, 13568, 16384, 20480, 27264, 32768, 65536,
  131072, 262144,
];

function classesOf(process, random) {
  const weights = CLASS_SIZES.map(() => random() ** 3);
  const sum = weights.reduce((a, b) => a + b, 0);
  return CLASS_SIZES.map((size, i) => {
    const liveBytes = (process.live_bytes * weights[i]) / sum;
    const live = Math.floor(liveBytes / size);
    const spanBytes = Math.max(8192, Math.ceil((size * 8) / 8192) * 8192);
    const fill = 0.45 + 0.5 * random();
    const spans = live === 0 ? 0 : Math.ceil((live * size) / fill / spanBytes);
    const capacity = spans * Math.floor(spanBytes / size);
    return {
      size_bytes: size,
      live_objects: live,
      live_bytes: live * size,
      free_objects: Math.max(0, capacity - live),
      free_bytes: Math.max(0, capacity - live) * size,
      spans,
      span_bytes: spanBytes,
      waste_bytes: spans * (spanBytes - Math.floor(spanBytes / size) * size),
    };
  });
}

const mib = (value) =>
  value >= 1024 * MIB
    ? `${(value / 1024 / MIB).toFixed(2)} GiB`
    : `${(value / MIB).toFixed(1)} MiB`;

function storedProfiles(process, now) {
  const end = process.ended_unix_ns / 1e9 || now;
  const start = Math.max(process.started_unix_ns / 1e9 + 60, end - 24 * HOUR);
  const profiles = [];
  for (let at = Math.ceil(start / 60) * 60; at < end; at += 60)
    profiles.push({ unix_s: at, bytes: 41000 + (at % 977) });
  return profiles;
}

// Of all the programs here one uses the collected heap.
function collectorOf(process) {
  if (process.pid !== 4711) return null;
  return {
    cycles: 997,
    forced_cycles: 3,
    last_pause_ns: 412000,
    total_pause_ns: 213500000,
    last_unix_ns: ns(process.now - 4),
    goal_bytes: 96 * MIB,
    live_bytes: 48 * MIB,
    heap_bytes: 61 * MIB,
    cpu_share: 0.0312,
  };
}

export function processDocument(now, id) {
  const process = processesAt(now).find((p) => p.id === id || String(p.pid) === id);
  if (!process) return null;
  const parts = partsOf(process);
  const part = Object.fromEntries(parts.map((p) => [p.key, p.bytes]));
  const names = parts
    .filter((p) => p.bytes > 0)
    .map((p) => `${mib(p.bytes)} ${p.label}${p.key === 'live' ? ' (±2 %)' : ''}`);
  return {
    ...process,
    rss: {
      resident_bytes: process.rss_bytes,
      measured: process.alive,
      parts,
      sentence: `RSS ${mib(process.rss_bytes)} = ${names.join(' + ')}`,
    },
    stats: {
      total_alloc_bytes: process.live_bytes * 41,
      total_free_bytes: process.live_bytes * 40,
      heap_alloc_bytes: process.live_bytes,
      mallocs_total: 918273645,
      frees_total: 907263544,
      heap_objects: 11010101,
      sys_bytes: process.rss_bytes * 1.2,
      heap_sys_bytes: process.rss_bytes * 1.15,
      heap_idle_bytes: part.free_pages + 70 * MIB,
      heap_inuse_bytes: process.live_bytes + part.free_in_spans + part.cpu_caches,
      heap_released_bytes: 70 * MIB,
      span_sys_bytes: part.tables,
      bucket_sys_bytes: part.profiler,
      cpu_cache_bytes: part.cpu_caches * 0.8,
      transfer_cache_bytes: part.cpu_caches * 0.2,
      span_free_bytes: part.free_in_spans,
      spans: 30211,
      samples_total: 91823,
      samples_live: process.samples,
      gogc_percent: 18446744073709551615,
      memory_limit_bytes: 9223372036854775807,
      foreign_frees_total: 3,
      resident_bytes: process.rss_bytes,
      max_resident_bytes: process.rss_bytes * 1.03,
      scavenge_calls_total: 212,
      scavenge_cpu_ns_total: 48211000,
      map_calls_total: 310,
    },
    collector: collectorOf(process),
    classes: classesOf(process, randomOf(process.pid)),
    knobs: { rate_bytes: 524288, gogc: null, memory_limit_bytes: null },
    can_command: process.alive,
    limits: {
      cgroup_max_bytes:
        process.unit === 'importer.service' ? 512 * MIB : process.unit ? 4096 * MIB : null,
      cgroup_peak_bytes: process.unit === 'importer.service' ? 512 * MIB : null,
      cgroup_current_bytes: null,
      oom_kills: process.death?.kind === 'oom' ? 1 : 0,
    },
    profiles: process.pid === 77 ? [] : storedProfiles(process, now),
  };
}

const ROW = [
  'unix_ns',
  'rss_bytes',
  'heap_alloc_bytes',
  'heap_inuse_bytes',
  'heap_idle_bytes',
  'heap_released_bytes',
  'cache_bytes',
  'span_free_bytes',
  'tables_bytes',
  'profiler_bytes',
  'mallocs',
  'frees',
  'total_alloc_bytes',
  'next_gc_bytes',
  'num_gc',
];

// The leak's saw teeth: it grows, and a collection or a scavenge takes a little back.
function rowAt(process, at, random) {
  const end = process.ended_unix_ns / 1e9 || process.now;
  const age = (end - at) / HOUR;
  const wave = Math.sin(at / 211) * 0.012 + Math.sin(at / 37) * 0.006 + (random() - 0.5) * 0.006;
  const live = Math.max(
    3 * MIB,
    process.live_bytes - (process.growth_bytes_per_hour ?? 0) * age + process.live_bytes * wave,
  );
  const ratio = live / process.live_bytes;
  const other = process.rss_bytes - process.live_bytes;
  const tooth = ((at % 600) / 600) * 0.04;
  const rss = Math.floor(live + other * (0.35 + 0.65 * ratio) + tooth * process.rss_bytes);
  const spanFree = other * ratio * (0.45 + 0.05 * Math.sin(at / 500));
  return [
    ns(at),
    rss,
    Math.floor(live),
    Math.floor(live + spanFree),
    Math.floor(tooth * process.rss_bytes + 70 * MIB + other * 0.1),
    70 * MIB,
    Math.floor(other * 0.09),
    Math.floor(spanFree),
    Math.floor(other * 0.07),
    Math.floor(1.2 * MIB + live * 0.003),
    Math.floor(at * 1000),
    Math.floor(at * 990),
    Math.floor(at * 4096),
    ...(process.pid === 4711 ? [96 * MIB, Math.floor(at / 4) % 997] : [2 ** 63 - 1, 0]),
  ];
}

function eventsBetween(from, to) {
  const events = [];
  for (let at = Math.ceil(from / 600) * 600; at < to; at += 600) {
    events.push({
      unix_ns: ns(at),
      kind: 'scav',
      text: `scav ${Math.round((at / 600) % 997)} @${at % 86400}s 0.041s: 12 MiB offered, 11 MiB returned (background)`,
    });
    if (at % 1800 === 0)
      events.push({
        unix_ns: ns(at + 90),
        kind: 'gc',
        text: `gc ${Math.round((at / 1800) % 997)} @${at % 86400}.3s 1%: 0.02+1.1+0.01 ms clock, 812->640->700 MB`,
      });
  }
  return events;
}

export function historyDocument(now, id, { from, to, points = 2000 } = {}) {
  const process = processDocument(now, id);
  if (!process) return null;
  process.now = now;
  const end = Math.min(to || Infinity, process.ended_unix_ns / 1e9 || now);
  const oldest = process.started_unix_ns / 1e9;
  const start = Math.max(from || 0, oldest);
  const step = Math.max(1, (end - start) / points);
  const random = randomOf(process.pid);
  const rows = [];
  for (let at = start; at <= end; at += step) rows.push(rowAt(process, at, random));
  return {
    step_ns: ns(step),
    columns: ROW,
    rows,
    events: process.pid === 77 ? [] : eventsBetween(start, end),
    oldest_unix_s: Math.floor(oldest),
  };
}

const WORDS = [
  'parse',
  'read',
  'handle',
  'grow',
  'copy',
  'insert',
  'make',
  'json',
  'row',
  'session',
  'request',
  'cache',
  'index',
  'buffer',
  'name',
  'list',
  'order',
  'item',
  'price',
  'cart',
  'encode',
  'batch',
  'node',
  'split',
  'page',
];
const FILES = [
  'src/server.cc',
  'src/session.cc',
  'src/json/parser.cc',
  'src/db/cursor.cc',
  'src/cart.cc',
  'src/cache/lru.cc',
  '/usr/include/c++/12/bits/stl_vector.h',
  '/usr/include/c++/12/bits/basic_string.h',
  '/usr/lib/x86_64-linux-gnu/libpq.so.5',
  'src/http/router.cc',
];
const KNOWN_PATHS = [
  {
    path: [
      'main',
      'Server::run()',
      'Server::handle(Request const&)',
      'Session::load(std::string const&)',
      'SessionCache::insert(Session*)',
      'std::vector<Session*>::push_back',
      'operator new(unsigned long)',
    ],
    size: 4096,
    share: 0.34,
    leak: true,
  },
  {
    path: [
      'main',
      'Server::run()',
      'Server::handle(Request const&)',
      'json::parse(std::string_view)',
      'json::Parser::object()',
      'std::string::_M_create',
      'operator new(unsigned long)',
    ],
    size: 96,
    share: 0.17,
  },
  {
    path: [
      'main',
      'Server::run()',
      'Server::handle(Request const&)',
      'json::parse(std::string_view)',
      'json::Parser::array()',
      'json::Parser::object()',
      'std::string::_M_create',
      'operator new(unsigned long)',
    ],
    size: 64,
    share: 0.06,
  },
  {
    path: [
      'main',
      'Server::run()',
      'Db::fetch(Query const&)',
      'Cursor::next()',
      'pqGetResult',
      'malloc',
    ],
    size: 16384,
    share: 0.13,
  },
  {
    path: [
      'main',
      'load_catalog()',
      'Catalog::add(Item)',
      'std::map<int, Item>::emplace',
      'operator new(unsigned long)',
    ],
    size: 240,
    share: 0.1,
  },
  { path: ['main', 'tls_init', 'SSL_CTX_new', 'CRYPTO_malloc'], size: 512, share: 0.0006 },
];

// Collects functions, frames and stacks in the API's form.
class ProfileBuilder {
  constructor(timeNs, rate) {
    this.document = {
      time_unix_ns: timeNs,
      rate_bytes: rate,
      values: ['alloc_objects', 'alloc_space', 'inuse_objects', 'inuse_space'],
      functions: [],
      frames: [],
      stacks: [],
      samples: [],
      dropped_samples: 0,
      other: null,
    };
    this.frames = new Map();
  }

  frame(name, file, line) {
    const key = `${name}|${line}`;
    if (!this.frames.has(key)) {
      const known = this.document.functions.findIndex((fn) => fn[0] === name);
      const fn =
        known >= 0 ? known : this.document.functions.push([name, file, line - (line % 20) + 1]) - 1;
      this.frames.set(key, this.document.frames.push([fn, line]) - 1);
    }
    return this.frames.get(key);
  }

  add(stack, size, inuseObjects, allocObjects) {
    const at = this.document.stacks.push(stack) - 1;
    this.document.samples.push([
      at,
      size,
      allocObjects,
      allocObjects * size,
      inuseObjects,
      inuseObjects * size,
    ]);
  }
}

const fileOf = (name) =>
  FILES[[...name].reduce((sum, c) => sum + c.charCodeAt(0), 0) % FILES.length];

function addKnown(builder, total, growth) {
  for (const { path, size, share, leak } of KNOWN_PATHS) {
    const objects = Math.round((total * share * (leak ? growth : 1)) / size);
    const stack = path
      .map((name, depth) => builder.frame(name, fileOf(name), 20 + depth * 7))
      .reverse();
    builder.add(stack, size, objects, objects * 3);
  }
}

// Random walks over a random call graph: functions call few others, so stacks share beginnings.
function addRandom(builder, random, stacks, total) {
  const functions = Array.from({ length: 900 }, (_, i) => {
    const word = () => WORDS[Math.floor(random() * WORDS.length)];
    return i % 3
      ? `${word()}_${word()}_${i}`
      : `${word()[0].toUpperCase()}${word()}::${word()}_${word()}(int, char const*)`;
  });
  const calls = functions.map(() =>
    Array.from({ length: 4 }, () => Math.floor(random() * functions.length)),
  );
  const root = builder.frame('main', 'src/server.cc', 20);
  const seen = new Set();
  for (let tries = 0; seen.size < stacks && tries < stacks * 4; tries++) {
    const stack = [root];
    let at = Math.floor(random() ** 2 * 12);
    for (let depth = 6 + Math.floor(random() * 22); depth > 0; depth--) {
      stack.push(builder.frame(functions[at], fileOf(functions[at]), 10 + at * 3));
      at = calls[at][Math.floor(random() ** 2 * 4)];
    }
    const key = stack.join();
    if (seen.has(key)) continue;
    seen.add(key);
    const size = CLASS_SIZES[Math.floor(random() * 30)];
    const objects = Math.max(1, Math.round(((total * random() ** 6) / stacks / size) * 7));
    builder.add(stack.reverse(), size, objects, objects * (1 + Math.floor(random() * 9)));
  }
}

export function profileDocument(now, id, at) {
  const process = processDocument(now, id);
  if (!process) return null;
  const time = at ? Number(at) : process.ended_unix_ns / 1e9 || now;
  const builder = new ProfileBuilder(ns(time), 524288);
  if (process.pid === 77) return builder.document;
  const age = ((process.ended_unix_ns / 1e9 || now) - time) / HOUR;
  const growth = Math.max(
    0.02,
    1 - (age * (process.growth_bytes_per_hour ?? 0)) / process.live_bytes,
  );
  addKnown(builder, process.live_bytes * (process.pid === 812 ? 0.2 : 1), growth);
  const many = process.pid === 812;
  addRandom(
    builder,
    randomOf(process.pid),
    many ? 10000 : 160,
    process.live_bytes * (many ? 4 : 0.2),
  );
  return builder.document;
}

export function spansDocument(now, id) {
  const process = processDocument(now, id);
  if (!process || process.pid === 77) return null;
  const random = randomOf(process.pid + 1);
  const profile = profileDocument(now, '4711.880');
  const spans = [];
  let page = 0x2d0000000;
  process.classes.forEach(({ size_bytes: size, spans: count, span_bytes: bytes }, cls) => {
    const wanted = Math.ceil(count * Math.min(1, 6000 / 30000));
    for (let i = 0; i < wanted; i++) {
      const pages = Math.max(1, bytes / 8192);
      const capacity = Math.floor((pages * 8192) / size);
      const emptiness = random();
      const live = Math.max(
        1,
        Math.round(capacity * (emptiness < 0.25 ? random() * 0.2 : 0.6 + 0.4 * random())),
      );
      spans.push([
        page,
        pages,
        cls,
        Math.min(live, capacity),
        capacity,
        random() < 0.35 ? Math.floor(random() ** 3 * 60) : -1,
      ]);
      page += pages + (random() < 0.03 ? 512 : 0);
    }
  });
  return {
    taken_unix_ns: ns(now - 3),
    page_bytes: 8192,
    total: spans.length,
    stride: 1,
    classes: process.classes.map((c) => c.size_bytes),
    spans,
    pins: { functions: profile.functions, frames: profile.frames, stacks: profile.stacks },
  };
}

export function traceDocument(now, id, cursor = 0) {
  const process = processDocument(now, id);
  if (!process || process.pid === 77) return process && { cursor: 0, lines: [] };
  const end = process.ended_unix_ns / 1e9 || now;
  const lines = eventsBetween(end - 4 * HOUR, end).map((event) => event.text);
  return { cursor: lines.length, lines: lines.slice(Number(cursor)) };
}
