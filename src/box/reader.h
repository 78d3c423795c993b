/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a box: from a file that another process writes, that a dead one left, or that an enemy
 * made; or from this process's own mapping.
 *
 * The reader trusts nothing. A file is never mapped, only copied with pread, so truncating it
 * gives a short read and not SIGBUS. Every offset, count and length is checked against the file
 * before use; strings come back as private, terminated copies. All functions return 0 or a
 * negative errno (-EBADMSG: not a box, or torn beyond use; -EPROTO: another layout version) and
 * write their result only on success. A handle may be used by one thread at a time.
 */
#ifndef MAL_BOX_READER_H
#define MAL_BOX_READER_H

#include "box/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mal_box_reader;

/* Opens the file without following a symbolic link in the last component. */
int mal_reader_open(const char *path, struct mal_box_reader **ret_reader);

/* The same for a file that is open already; takes the descriptor over, on failure too. It may be
 * open for reading only: then there are no commands. `path` is what mal_reader_path will say. */
int mal_reader_from_fd(int fd, const char *path, struct mal_box_reader **ret_reader);

/* The layout version that the box at `path` was written in, be it this reader's or another: of a
 * box of another one it is all that may be believed. -EBADMSG: no box. */
int mal_box_version(const char *path, uint32_t *ret_version);

/* Reads from memory that stays mapped and at least `bytes` long until close: one's own box. */
int mal_reader_from_memory(const void *base, size_t bytes, struct mal_box_reader **ret_reader);

/* Accepts NULL. */
void mal_reader_close(struct mal_box_reader *reader);

/* The file's path, or "" for memory. Lives as long as the handle. */
const char *mal_reader_path(const struct mal_box_reader *reader);

/* The descriptor of the file, which works when the path does not any more; -1 for memory. It stays
 * the reader's. */
int mal_reader_fd(const struct mal_box_reader *reader);

/* The user that the file belongs to: the only one whose word it is, whatever is written inside. For
 * memory the effective user. */
uint32_t mal_reader_owner(const struct mal_box_reader *reader);

/* Where the files of the process are to be looked for: "" (the default) or the root of its mount
 * namespace, "/proc/PID/root" with the pid as this process sees it. Snapshots carry a copy. */
int mal_reader_set_root(struct mal_box_reader *reader, const char *root);

/* The pid of the box's process as this process sees it, where that is another than the box says: it
 * runs in a pid namespace of its own. */
void mal_reader_set_pid(struct mal_box_reader *reader, uint32_t pid);

/* Who wrote the box. Strings are owned by the structure; free with mal_identity_free. */
struct mal_identity {
    uint32_t pid, parent_pid, uid, flags, cpus;
    uint64_t start_ticks, started_unix_ns, started_mono_ns;
    char *exe;     /* "" where unknown */
    char *cmdline; /* NUL separated, cmdline_bytes long, one more NUL behind it */
    size_t cmdline_bytes;
    char *options;
    char *cgroup;
};
int mal_reader_identity(struct mal_box_reader *reader, struct mal_identity *ret_identity);
void mal_identity_free(struct mal_identity *identity);

/* What is known of the process now. ALIVE: running, and the pid still has that start time; a
 * zombie is GONE. */
enum mal_life { MAL_LIFE_ALIVE, MAL_LIFE_EXITED, MAL_LIFE_GONE };
struct mal_status {
    enum mal_life life;
    int exit_code;          /* EXITED only */
    uint64_t ended_unix_ns; /* EXITED only */
    uint64_t mem_profile_rate;
    uint64_t dropped_samples, dropped_bytes;
    bool reaped;     /* somebody waited for it: the two below are known */
    int wait_status; /* as wait(2) gives it */
    uint64_t reaped_unix_ns;
};
int mal_reader_status(struct mal_box_reader *reader, struct mal_status *ret_status);

/* Whether this process still runs. Unknown ticks on either side leave the verdict to the pid. A
 * zombie is gone, unless it is only the first thread of a process that goes on without it. */
bool mal_reader_process_is_alive(uint32_t pid, uint64_t start_ticks);

/* A consistent copy of the newest published statistics. -EAGAIN after 100 ms of torn reads. */
int mal_reader_stats(struct mal_box_reader *reader, struct mal_box_stats *ret_stats);

/* A copy of everything a profile needs. Modules that were unloaded, and the pcs in them, lie apart
 * from where other code is now: reader_unloaded.c. For every bucket: frees <= allocs, its stack
 * lies inside `stacks`, its depth is 1..MAL_BOX_DEPTH_MAX. Entries that break a rule are left out
 * and counted.
 */
struct mal_snapshot_module {
    uint64_t start, limit, file_offset, load_bias;
    bool unloaded;
    uint32_t first_stack;
    const char *path;
    size_t build_id_bytes;
    uint8_t build_id[MAL_BOX_BUILD_ID_MAX];
};
struct mal_snapshot_bucket {
    const uint64_t *pcs; /* return addresses, leaf first */
    uint32_t depth;
    uint32_t kind;
    uint64_t size, rate, allocs, frees, first_unix_ns;
};
struct mal_snapshot {
    uint64_t taken_unix_ns;
    uint64_t mem_profile_rate;
    uint64_t dropped_samples, dropped_bytes; /* found a table full: in no bucket */
    uint32_t pid;                            /* as the box says; 0 unknown */
    uint32_t owner_uid;                      /* mal_reader_owner */
    const char *root;                        /* mal_reader_set_root; never NULL */
    size_t module_count, bucket_count, rejected;
    struct mal_snapshot_module *modules; /* [0] is the main program where known */
    struct mal_snapshot_bucket *buckets; /* oldest first */
    void *storage;                       /* what the pointers above point into */
};
int mal_reader_snapshot(struct mal_box_reader *reader, struct mal_snapshot **ret_snapshot);
void mal_snapshot_free(struct mal_snapshot *snapshot);

/* The newest rows of the history, oldest first; at most `max`. Returns the count or -errno. */
long mal_reader_history(struct mal_box_reader *reader, struct mal_box_history_row *ret_rows,
                        size_t max);

/* Trace text from byte number *cursor on (0: the oldest kept), at most `max` bytes, and moves the
 * cursor behind what was copied. A cursor too old is moved to the oldest whole line. Returns the
 * number of bytes, 0 at the end, or -errno. */
long mal_reader_trace(struct mal_box_reader *reader, uint64_t *cursor, char *ret_text, size_t max);

/* The map of spans as it was when MAL_BOX_CMD_MAP_SPANS was last answered. -ENODATA: never;
 * -EAGAIN: being written for 100 ms now. Spans are ordered by address and do not overlap. */
struct mal_mapped_span {
    uint64_t address;
    uint32_t pages;
    uint16_t class;      /* index in by_class of the statistics; 0: one large object */
    uint16_t live;       /* objects in the program's hands, <= objects */
    uint16_t objects;    /* that fit, at least 1 */
    uint32_t depth;      /* of pcs; 0: no sampled object is known in it */
    const uint64_t *pcs; /* return addresses of one sampled live object's allocation, leaf first */
};
struct mal_span_map {
    uint64_t taken_unix_ns, page_bytes;
    uint64_t total;  /* spans that were there */
    uint32_t stride; /* every so many'th of them is listed, at least 1 */
    size_t count;
    struct mal_mapped_span *spans;
    void *storage; /* what pcs points into */
};
int mal_reader_spans(struct mal_box_reader *reader, struct mal_span_map **ret_map);
void mal_span_map_free(struct mal_span_map *map); /* accepts NULL */

/* Notes in the box at `path` how its process ended, as wait(2) told: for the process's parent.
 * 0, or -errno where the box is gone, not one, or not writable. */
int mal_box_set_wait_status(const char *path, int wait_status);

/* Sends one command through the mailbox and waits for the answer. -ESRCH: the process is gone or
 * nobody serves the mailbox; -EROFS: the box cannot be written by this user; -ETIMEDOUT; -EBUSY:
 * another reader wrote over the order. Else what the process answered, 0 or a negative errno. */
int mal_reader_command(struct mal_box_reader *reader, enum mal_box_command command,
                       int64_t argument, unsigned timeout_ms, int64_t *ret_result);

/* Where boxes are: fills `ret_path` with the folder that this environment means
 * ($MALLARD_DIR, /run/mallard, $XDG_RUNTIME_DIR/mallard, /dev/shm/mallard.<uid>).
 * -ENOENT when none exists. */
int mal_box_folder(char *ret_path, size_t bytes);

/* Splits the name of a box's file, "<pid>.<start_ticks>.mallard". False for any other name. */
bool mal_box_name_parse(const char *name, uint32_t *ret_pid, uint64_t *ret_start_ticks);

/* Calls `visit` for each file in `folder` named like a box, in the order of the folder. Stops and
 * returns what `visit` returned once that is not 0. */
int mal_box_each(const char *folder, int (*visit)(const char *path, void *context), void *context);

/* Unlinks boxes whose process is gone, oldest first, until at most `keep` of them are left.
 * Returns how many were removed. Leaves what belongs to others alone. */
int mal_box_collect_stale(const char *folder, size_t keep);

#endif
