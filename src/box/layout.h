/* SPDX-License-Identifier: Apache-2.0
 *
 * The black box: the one layout in which a process writes down everything about its heap that
 * anybody may want to know, while it runs and after it was killed.
 *
 * A box is a sparse file of MAL_BOX_BYTES on tmpfs (or an anonymous mapping of the same shape).
 * One process writes it, any number of readers copy out of it. Readers may be other programs of
 * other versions, so every structure here has a fixed size, no pointers, and little-endian 64-bit
 * words; a change of meaning changes MAL_BOX_VERSION.
 *
 *   offset 0          struct mal_box_header     who, since when, where the sections are, state
 *   section STATS     struct mal_box_stats      the published statistics, under a sequence lock
 *   section MODULES   struct mal_box_module[]   what is loaded where, with build-ids
 *   section STRINGS   bytes                     paths and arguments, referred to by offset
 *   section STACKS    uint64_t[]                depth, then that many return addresses, leaf first
 *   section BUCKETS   struct mal_box_bucket[]   one per (stack, size, rate, kind)
 *   section COUNTS    struct mal_box_count[]    what was sampled of each bucket, apart by CPU
 *   section HISTORY   struct mal_box_history    one row of statistics a second, a ring
 *   section TRACE     struct mal_box_trace      text lines, a ring of bytes
 *   section MAILBOX   struct mal_box_mailbox    the only part that a reader of a living box writes
 *   section SPANS     struct mal_box_spans      the map of spans, as of when it was last asked for
 *
 * SYNCHRONIZATION
 *   1. Append-only sections (MODULES, STRINGS, STACKS, BUCKETS) are published by their `*_used`
 *      counter in the header: fill the entry, then store-release the counter. An entry below the
 *      counter never changes again, except `unloaded`; its COUNTS may be looked at.
 *   2. COUNTS are relaxed atomics that only grow, and a bucket's are spread over stripes: who
 *      counts uses the stripe of the CPU it runs on, so that CPUs do not write each other's cache
 *      lines. A writer bumps `allocs` before the object can be freed; a reader that loads `frees`
 *      of all stripes before it loads `allocs` of any never sees more frees than allocs in their
 *      sums.
 *   3. STATS is a sequence lock: odd while being written. HISTORY and TRACE publish a running
 *      count after the bytes; a reader drops what may have been overwritten while it copied.
 *   4. `state` only moves forward: RUNNING -> EXITED. A process that died otherwise leaves RUNNING
 *      and a pid that is gone; that verdict is the reader's. Whoever waited for the process may
 *      add how it ended: `wait_status`, then store-release of `reaped`.
 *   5. SPANS is a sequence lock like STATS; it is filled when the mailbox asks for it.
 */
#ifndef MAL_BOX_LAYOUT_H
#define MAL_BOX_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define MAL_BOX_MAGIC "MALLARD\n"
#define MAL_BOX_VERSION 4u
#define MAL_BOX_PAGE_BYTES 4096u

/* Capacities. All are virtual sizes of a sparse file: only what is used becomes resident. */
#define MAL_BOX_MODULES_MAX 2048u
#define MAL_BOX_STRINGS_BYTES (1u << 20)
#define MAL_BOX_STACK_WORDS (2u << 20)
#define MAL_BOX_BUCKETS_MAX 65536u
#define MAL_BOX_STRIPES_MAX 8u
#define MAL_BOX_HISTORY_ROWS 3600u
#define MAL_BOX_TRACE_BYTES (256u << 10)
#define MAL_BOX_DEPTH_MAX 128u
#define MAL_BOX_CLASSES_MAX 128u
#define MAL_BOX_PAUSES 256u
#define MAL_BOX_BUILD_ID_MAX 32u
#define MAL_BOX_SPANS_MAX 65536u

enum mal_box_section_id {
    MAL_BOX_STATS,
    MAL_BOX_MODULES,
    MAL_BOX_STRINGS,
    MAL_BOX_STACKS,
    MAL_BOX_BUCKETS,
    MAL_BOX_COUNTS,
    MAL_BOX_HISTORY,
    MAL_BOX_TRACE,
    MAL_BOX_MAILBOX,
    MAL_BOX_SPANS,
    MAL_BOX_SECTIONS
};

struct mal_box_section {
    uint64_t offset; /* from the start of the file, page aligned */
    uint64_t bytes;
};

/* A string in section STRINGS. Not terminated; may hold NULs (the command line does). */
struct mal_box_string {
    uint32_t offset;
    uint32_t bytes;
};

enum mal_box_state { MAL_BOX_RUNNING = 1, MAL_BOX_EXITED = 2 };

enum mal_box_header_flags {
    MAL_BOX_INHERITED = 1u << 0, /* made in a forked child: live bytes of the parent came along */
};

struct mal_box_header {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes; /* sizeof(struct mal_box_header) of the writer */
    uint64_t file_bytes;
    struct mal_box_section section[MAL_BOX_SECTIONS];

    /* identity: written once, before `state` becomes RUNNING */
    uint32_t pid; /* in the writer's own pid namespace */
    uint32_t parent_pid;
    uint32_t uid;
    uint32_t flags;           /* enum mal_box_header_flags */
    uint64_t start_ticks;     /* field 22 of /proc/PID/stat; 0 where unknown */
    uint64_t started_unix_ns; /* when this image began, wall clock */
    uint64_t started_mono_ns; /* the same instant, CLOCK_MONOTONIC */
    uint32_t cpus;            /* per-CPU caches that may exist */
    uint32_t os_page_bytes;
    uint32_t stripes; /* of COUNTS: 1 to MAL_BOX_STRIPES_MAX, a power of two */
    uint32_t reserved;
    struct mal_box_string exe;     /* absolute path of the program */
    struct mal_box_string cmdline; /* argv joined by NUL, no final NUL */
    struct mal_box_string options; /* KEY=VALUE lines of the knobs in force at start */
    struct mal_box_string cgroup;  /* the line of /proc/self/cgroup that names the unified group */

    /* state: any thread, atomic */
    uint32_t state;    /* enum mal_box_state */
    int32_t exit_code; /* valid when EXITED */
    uint64_t ended_unix_ns;
    uint64_t mem_profile_rate; /* in force now, bytes; 0 off */

    /* published lengths of the append-only sections: store-release after the entry is complete */
    uint32_t modules_used;
    uint32_t strings_used; /* bytes */
    uint32_t stacks_used;  /* words */
    uint32_t buckets_used;

    /* samples that found a table full: counted, never lost silently */
    uint64_t dropped_samples;
    uint64_t dropped_bytes;

    /* by whoever waited for the process, after its end: as wait(2) gives it */
    uint32_t reaped; /* 1 once the two below are valid; acquire/release */
    int32_t wait_status;
    uint64_t reaped_unix_ns;
};

/* One executable range of one file. The main program is always entry 0. Ranges of code that was
 * unloaded and of what came after it may overlap: a stack at word s passed through the last entry
 * around its pc whose first_stack <= s. */
struct mal_box_module {
    uint64_t start; /* address range of the executable segment */
    uint64_t limit;
    uint64_t file_offset; /* of `start` in the file */
    uint64_t load_bias;   /* run-time address minus ELF virtual address */
    uint64_t unloaded;    /* 1 when another object took its place; atomic */
    struct mal_box_string path;
    uint32_t build_id_bytes;
    uint8_t build_id[MAL_BOX_BUILD_ID_MAX];
    uint32_t first_stack; /* stacks before this word were taken before it was there */
};

enum mal_box_kind { MAL_BOX_KIND_MALLOC = 0, MAL_BOX_KIND_GC = 1 };

/* Samples of one size class taken at one stack at one rate. An estimate of the true numbers is
 * count / (1 - e^(-size/rate)), see src/sample/sampler.c; rate <= 1 means exact. */
struct mal_box_bucket {
    uint32_t stack; /* word index of the stack's depth in STACKS */
    uint32_t kind;  /* enum mal_box_kind */
    uint64_t size;  /* size-class bytes of one object */
    uint64_t rate;  /* mean bytes between samples when these were drawn */
    uint64_t first_unix_ns;
};

/* What one stripe counted of one bucket: over all stripes, frees <= allocs. */
struct mal_box_count {
    uint64_t allocs; /* sampled objects ever allocated; atomic, only grows */
    uint64_t frees;  /* sampled objects freed; atomic, only grows */
};

/* One cache line is one stripe's counts of so many buckets in a row; the lines of the other stripes
 * follow, then those of the next buckets. So few buckets lie in one page, however many stripes. */
#define MAL_BOX_COUNTS_A_LINE 4u

static inline uint64_t mal_box_count_at(uint32_t bucket, uint32_t stripe, uint32_t stripes) {
    uint64_t line = (uint64_t)(bucket / MAL_BOX_COUNTS_A_LINE) * stripes + stripe;
    return line * MAL_BOX_COUNTS_A_LINE + bucket % MAL_BOX_COUNTS_A_LINE;
}

/* How many bytes of COUNTS belong to the first `buckets`. */
static inline uint64_t mal_box_counts_bytes(uint32_t buckets, uint32_t stripes) {
    uint64_t lines = ((uint64_t)buckets + MAL_BOX_COUNTS_A_LINE - 1) / MAL_BOX_COUNTS_A_LINE;
    return lines * stripes * MAL_BOX_COUNTS_A_LINE * sizeof(struct mal_box_count);
}

/* The statistics: one table makes the enum, the names, the JSON, the metrics and their tests.
 *   X(ID, "name", kind, "help")      kind: C counter, G gauge
 * Names carry their unit. Equations that hold in every published row:
 *   SYS            = HEAP_SYS + STACK_SYS + SPAN_SYS + CACHE_SYS + BUCKET_SYS + GC_SYS + OTHER_SYS
 *   HEAP_SYS       = HEAP_IDLE + HEAP_INUSE
 *   HEAP_RELEASED <= HEAP_IDLE,  HEAP_ALLOC <= HEAP_INUSE
 *   HEAP_ALLOC     = TOTAL_ALLOC - TOTAL_FREE,  HEAP_OBJECTS = MALLOCS - FREES
 *   GC_HEAP = GC_LIVE = NUM_GC = 0 where nothing was ever allocated on the collected heap
 *   HEAP_INUSE    >= HEAP_ALLOC + CPU_CACHE + TRANSFER_CACHE + SPAN_FREE  (the rest is span tails)
 */
#define MAL_STATS(X)                                                                               \
    X(TOTAL_ALLOC, "total_alloc_bytes", C, "Bytes ever allocated, in size-class bytes.")           \
    X(TOTAL_FREE, "total_free_bytes", C, "Bytes ever freed, in size-class bytes.")                 \
    X(HEAP_ALLOC, "heap_alloc_bytes", G, "Bytes of live objects.")                                 \
    X(MALLOCS, "mallocs_total", C, "Objects ever allocated.")                                      \
    X(FREES, "frees_total", C, "Objects ever freed.")                                              \
    X(HEAP_OBJECTS, "heap_objects", G, "Live objects.")                                            \
    X(SYS, "sys_bytes", G, "Bytes of address space obtained from the OS.")                         \
    X(HEAP_SYS, "heap_sys_bytes", G, "Bytes of heap address space.")                               \
    X(HEAP_IDLE, "heap_idle_bytes", G, "Bytes in pages that hold no span.")                        \
    X(HEAP_INUSE, "heap_inuse_bytes", G, "Bytes in spans.")                                        \
    X(HEAP_RELEASED, "heap_released_bytes", G, "Idle bytes that the OS has back or never gave.")   \
    X(STACK_INUSE, "stack_inuse_bytes", G, "Bytes in stacks of Mallard's own threads.")            \
    X(STACK_SYS, "stack_sys_bytes", G, "Bytes obtained for stacks of Mallard's own threads.")      \
    X(SPAN_INUSE, "span_inuse_bytes", G, "Bytes of span descriptors and object states in use.")    \
    X(SPAN_SYS, "span_sys_bytes", G, "Bytes obtained for span descriptors, states and page map.")  \
    X(CACHE_INUSE, "cache_inuse_bytes", G, "Bytes of per-CPU cache structures in use.")            \
    X(CACHE_SYS, "cache_sys_bytes", G, "Bytes obtained for per-CPU cache structures.")             \
    X(BUCKET_SYS, "bucket_sys_bytes", G, "Bytes obtained for the profiler's tables.")              \
    X(GC_SYS, "gc_sys_bytes", G, "Bytes obtained for the collector's tables.")                     \
    X(OTHER_SYS, "other_sys_bytes", G, "Bytes obtained for everything else.")                      \
    X(GC_HEAP, "gc_heap_bytes", G, "Collected heap: found alive, and allocated since.")            \
    X(GC_LIVE, "gc_live_bytes", G, "Collected heap that the last cycle found alive.")              \
    X(NEXT_GC, "next_gc_bytes", G, "Heap goal of the collector.")                                  \
    X(LAST_GC, "last_gc_unix_ns", G, "Wall clock of the last collection, 0 before the first.")     \
    X(PAUSE_TOTAL, "gc_pause_total_ns", C, "Nanoseconds the program was stopped for collection.")  \
    X(NUM_GC, "gc_cycles_total", C, "Completed collections.")                                      \
    X(NUM_FORCED_GC, "gc_forced_cycles_total", C, "Collections asked for explicitly.")             \
    X(GC_CPU_PPB, "gc_cpu_parts_per_billion", G, "Share of CPU time spent collecting.")            \
    X(CPU_CACHE, "cpu_cache_bytes", G, "Free objects held in per-CPU caches.")                     \
    X(TRANSFER_CACHE, "transfer_cache_bytes", G, "Free objects held in transfer caches.")          \
    X(SPAN_FREE, "span_free_bytes", G, "Free objects left in spans.")                              \
    X(LARGE_ALLOC, "large_alloc_bytes", G, "Live bytes in objects that own their span.")           \
    X(SPAN_HOLES, "span_released_bytes", G, "Free bytes inside spans that the OS has back.")       \
    X(SPAN_REFILLED, "span_refaulted_bytes_total", C, "Such bytes taken into use again.")          \
    X(SPANS, "spans", G, "Spans in use.")                                                          \
    X(GOGC, "gogc_percent", G, "GOGC in force; 18446744073709551615 is off.")                      \
    X(MEM_LIMIT, "memory_limit_bytes", G, "GOMEMLIMIT in force; 9223372036854775807 is off.")      \
    X(SAMPLES, "samples_total", C, "Allocations sampled.")                                         \
    X(SAMPLES_LIVE, "samples_live", G, "Sampled objects not freed yet.")                           \
    X(SCAV_BACKGROUND, "scavenged_background_bytes_total", C, "Bytes returned in the background.") \
    X(SCAV_EAGER, "scavenged_eager_bytes_total", C, "Bytes returned by allocating threads.")       \
    X(SCAV_FORCED, "scavenged_forced_bytes_total", C, "Bytes returned on request.")                \
    X(SCAV_CALLS, "scavenge_calls_total", C, "Calls that offered memory to the OS.")               \
    X(SCAV_CPU, "scavenge_cpu_ns_total", C, "Nanoseconds spent returning memory.")                 \
    X(MAPS, "map_calls_total", C, "Calls that obtained memory from the OS.")                       \
    X(FOREIGN_FREES, "foreign_frees_total", C, "Frees of pointers that Mallard never gave out.")   \
    X(OWN_ALLOC, "own_alloc_bytes", G, "Live bytes allocated by Mallard's own threads.")           \
    X(RSS, "resident_bytes", G, "Resident set of the process.")                                    \
    X(MAX_RSS, "max_resident_bytes", G, "Largest resident set so far.")

enum mal_stat_id {
#define MAL_STAT_ENUM(id, name, kind, help) MAL_STAT_##id,
    MAL_STATS(MAL_STAT_ENUM)
#undef MAL_STAT_ENUM
        MAL_STAT_COUNT
};

/* One size class. mallocs - frees = live objects; index 0 is objects that own their span. */
struct mal_box_class {
    uint64_t size_bytes;
    uint64_t mallocs;
    uint64_t frees;
    uint64_t spans;
    uint64_t span_bytes;   /* of one span */
    uint64_t free_objects; /* in spans, transfer and CPU caches */
};

struct mal_box_stats {
    uint64_t sequence; /* odd while being written; even and unchanged around a good copy */
    uint64_t published_unix_ns;
    uint64_t published_mono_ns;
    uint64_t value[MAL_STAT_COUNT];
    uint64_t class_count; /* entries of `by_class` in use */
    struct mal_box_class by_class[MAL_BOX_CLASSES_MAX];
    /* rings: entry of cycle N is at (N + 255) % 256, as in Go's MemStats */
    uint64_t pause_ns[MAL_BOX_PAUSES];
    uint64_t pause_end_unix_ns[MAL_BOX_PAUSES];
};

struct mal_box_history_row {
    uint64_t unix_ns;
    uint64_t rss_bytes;
    uint64_t heap_alloc_bytes;
    uint64_t heap_inuse_bytes;
    uint64_t heap_idle_bytes;
    uint64_t heap_released_bytes;
    uint64_t cache_bytes; /* CPU_CACHE + TRANSFER_CACHE */
    uint64_t span_free_bytes;
    uint64_t tables_bytes; /* SPAN_SYS + CACHE_SYS + GC_SYS + OTHER_SYS */
    uint64_t profiler_bytes;
    uint64_t mallocs;
    uint64_t frees;
    uint64_t total_alloc_bytes;
    uint64_t next_gc_bytes;
    uint64_t num_gc;
    uint64_t scavenged_bytes; /* ever returned to the OS, for whatever reason */
};

struct mal_box_history {
    uint64_t written; /* rows ever written; row n is at n % MAL_BOX_HISTORY_ROWS */
    uint64_t reserved[7];
    struct mal_box_history_row row[MAL_BOX_HISTORY_ROWS];
};

struct mal_box_trace {
    uint64_t written; /* bytes ever written; byte n is at n % MAL_BOX_TRACE_BYTES */
    uint64_t reserved[7];
    char text[MAL_BOX_TRACE_BYTES];
};

/* One span. `live` counts objects that are handed out: in the program's hands, or in caches, which
 * hold a bounded number of bytes. */
struct mal_box_span {
    uint32_t page; /* number of its first page from `base_address` on */
    uint32_t pages;
    uint32_t stack;   /* word index in STACKS of one sampled live object in it; UINT32_MAX none */
    uint16_t class;   /* index in `by_class` of the statistics; 0: one large object */
    uint16_t live;    /* objects */
    uint16_t objects; /* that fit */
    uint16_t reserved;
};

struct mal_box_spans {
    uint64_t sequence; /* odd while being written, 0 before the first time */
    uint64_t taken_unix_ns;
    uint64_t base_address;
    uint64_t page_bytes;
    uint64_t total;  /* spans that were there */
    uint32_t stride; /* every so many'th of them is listed */
    uint32_t count;  /* entries of `span` in use, by address */
    struct mal_box_span span[MAL_BOX_SPANS_MAX];
};

enum mal_box_command {
    MAL_BOX_CMD_NONE,
    MAL_BOX_CMD_PUBLISH,        /* publish statistics now */
    MAL_BOX_CMD_COLLECT,        /* run a collection, then publish */
    MAL_BOX_CMD_FREE_OS_MEMORY, /* result: bytes returned */
    MAL_BOX_CMD_SET_RATE,       /* argument: bytes; result: the previous rate */
    MAL_BOX_CMD_SET_GOGC,
    MAL_BOX_CMD_SET_MEM_LIMIT,
    MAL_BOX_CMD_MAP_SPANS /* fill section SPANS; result: spans listed */
};

/* Request and answer. A reader takes `owner` by compare-and-swap, fills command and argument,
 * bumps `request` and wakes it as a futex; the writer answers by storing result and error, then
 * `done` = the request's number, and wakes `done`. */
struct mal_box_mailbox {
    uint32_t request; /* futex; number of the newest request */
    uint32_t done;    /* futex; number of the newest answer */
    uint32_t owner;   /* pid of the reader that holds the mailbox, 0 free */
    uint32_t command; /* enum mal_box_command */
    int64_t argument;
    int64_t result;
    int32_t error;   /* 0 or a negative errno */
    uint32_t served; /* 1 once a thread of the process answers here */
};

#define MAL_BOX_ROUND(bytes)                                                                       \
    (((uint64_t)(bytes) + MAL_BOX_PAGE_BYTES - 1) & ~(uint64_t)(MAL_BOX_PAGE_BYTES - 1))

/* A box's file is this long: the header's page, then each section rounded to pages. */
#define MAL_BOX_BYTES                                                                              \
    (MAL_BOX_PAGE_BYTES + MAL_BOX_ROUND(sizeof(struct mal_box_stats)) +                            \
     MAL_BOX_ROUND(MAL_BOX_MODULES_MAX * sizeof(struct mal_box_module)) +                          \
     MAL_BOX_ROUND(MAL_BOX_STRINGS_BYTES) + MAL_BOX_ROUND(MAL_BOX_STACK_WORDS * 8ull) +            \
     MAL_BOX_ROUND(MAL_BOX_BUCKETS_MAX * sizeof(struct mal_box_bucket)) +                          \
     MAL_BOX_ROUND(MAL_BOX_BUCKETS_MAX * MAL_BOX_STRIPES_MAX * sizeof(struct mal_box_count)) +     \
     MAL_BOX_ROUND(sizeof(struct mal_box_history)) + MAL_BOX_ROUND(sizeof(struct mal_box_trace)) + \
     MAL_BOX_ROUND(sizeof(struct mal_box_mailbox)) + MAL_BOX_ROUND(sizeof(struct mal_box_spans)))

_Static_assert(offsetof(struct mal_box_header, state) == 272, "tests/programs/run.py reads it");
_Static_assert(sizeof(struct mal_box_header) <= MAL_BOX_PAGE_BYTES, "the header is one page");
_Static_assert(sizeof(struct mal_box_bucket) == 32, "readers of other versions rely on it");
_Static_assert(sizeof(struct mal_box_count) == 16, "readers of other versions rely on it");
_Static_assert(sizeof(struct mal_box_span) == 20, "readers of other versions rely on it");
_Static_assert(sizeof(struct mal_box_history_row) == 128, "two rows share no line pair");

#endif
