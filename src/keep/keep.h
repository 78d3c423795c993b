/* SPDX-License-Identifier: Apache-2.0
 *
 * The keep folder: what the daemon stores of processes, so that it outlives them.
 *
 *   store.c      opening the folder, its default place, what it weighs
 *   trim.c       making room: what goes first
 *   entry.c      writing one process's folder
 *   box.c        the sparse copy of a box
 *   facts.c      facts as text, both ways
 *   profiles.c   reading profiles
 *   rows.c       reading and appending history rows
 *   symbols.c    names that were resolved once
 *
 *   KEEP/PID.START.BOOT/          one folder per process; BOOT: 8 hexadecimal digits of boot_id
 *       facts                     KEY=VALUE lines, see facts.c
 *       box                       copy of the box, sparse, once the process is dead
 *       history                   struct mal_box_history_row after struct mal_box_history_row
 *       heap.UNIXSECONDS.pb.gz    plain profiles
 *   KEEP/symbols/NAME.UID         names resolved for one module, see symbols.c
 *
 * WHO MAY WHAT. A folder written by root is root's, mode 0755, and the files in it belong to the
 * process's user, mode 0400: a user reads what their own dead processes left without a daemon and
 * without root, and nobody but root plants a file. Anyone else's keep folder is private, 0700 and
 * 0600. The owner of a file can still rewrite it, so readers trust the names of folders and the
 * owners of files, and nothing that is written inside. A folder that belongs neither to root nor to
 * the reader is passed over, and so is whatever is not a plain file or a real directory.
 *
 * All functions return 0 or a negative errno unless they say otherwise, and write their result
 * only on success.
 *
 * SYNCHRONIZATION: a store may be used by several threads at once. An entry belongs to one thread
 * at a time. What reads a folder by its path shares nothing.
 */
#ifndef MAL_KEEP_KEEP_H
#define MAL_KEEP_KEEP_H

#include "box/reader.h"
#include "view/view.h"

#include <stddef.h>
#include <stdint.h>

/* ---- facts */

enum keep_death {
    KEEP_DEATH_NONE, /* alive as far as is known */
    KEEP_DEATH_UNKNOWN,
    KEEP_DEATH_EXITED,
    KEEP_DEATH_SIGNAL,
    KEEP_DEATH_OOM,
};

#define KEEP_UNKNOWN UINT64_MAX
#define KEEP_BOOT_BYTES 9 /* 8 hexadecimal digits and the end */

/* What is known of a process besides its box. The strings are owned by the structure where a
 * function of this header fills it in, and then never NULL, "" where unknown; a writer may pass
 * NULL for that. */
struct keep_facts {
    uint32_t pid;
    uint32_t uid; /* on reading: the owner of the file, whatever the text says */
    uint64_t start_ticks;
    char boot[KEEP_BOOT_BYTES];              /* the boot that pid and start_ticks belong to */
    uint64_t started_unix_ns, ended_unix_ns; /* 0 unknown, not ended */
    char *exe;
    char *cmdline; /* NUL separated, cmdline_bytes long, one more NUL behind it */
    size_t cmdline_bytes;
    char *unit, *container, *pod, *service, *cgroup;
    enum keep_death death;
    int signal, exit_code;
    uint64_t oom_kills; /* the four are KEEP_UNKNOWN where unknown or without limit */
    uint64_t memory_max_bytes, memory_peak_bytes, memory_current_bytes;
    char *sentence; /* why it died, for people */
};

/* Frees the strings; accepts zeroed facts. */
void keep_facts_free(struct keep_facts *facts);

/* The first digits of this boot's id; "00000000" where the kernel does not say. */
void keep_boot(char ret_boot[KEEP_BOOT_BYTES]);

/* ---- the store */

struct keep_store;

enum keep_flags {
    KEEP_WRITE = 1u << 0, /* makes the folder where it is missing, removes torn leftovers */
};

#define KEEP_PROBLEM_BYTES 256

/* On failure `ret_problem` holds one sentence that names the folder. Accepts NULL for it. */
int keep_store_open(const char *path, unsigned flags, struct keep_store **ret_store,
                    char ret_problem[KEEP_PROBLEM_BYTES]);
/* Accepts NULL. Every entry must have ended. */
void keep_store_close(struct keep_store *store);
const char *keep_store_path(const struct keep_store *store);

/* /var/lib/mallard for root, else $XDG_STATE_HOME/mallard, else ~/.local/state/mallard. -ENOENT
 * when there is no home, -ENAMETOOLONG. Makes nothing. */
int keep_default_path(char *ret_path, size_t bytes);

/* What all files below the store take of the disk. */
uint64_t keep_store_bytes(struct keep_store *store);

/* What trimming removed. */
struct keep_trimmed {
    uint64_t profiles, folders, others; /* others: names, and files that outgrew their bounds */
    uint64_t bytes;
    uint64_t left_bytes; /* what the store takes now: keep_store_bytes without another walk */
};

/* Removes profiles older than `older_than_unix_ns`, then, until the store takes at most
 * `keep_bytes`, in this order: files that are larger than any writer makes them; the oldest
 * profiles of all processes, but the newest of each; the dead processes that ended first, whole;
 * names. Of a process whose entry has begun and not ended the newest profile is never removed. Age
 * alone removes neither the last profile of a process nor a dead process. */
int keep_store_trim(struct keep_store *store, uint64_t keep_bytes, uint64_t older_than_unix_ns,
                    struct keep_trimmed *ret_trimmed);

/* ---- writing one process's folder */

struct keep_entry;

/* Makes the folder unless it is there already, and writes the facts. -EINVAL for facts without pid
 * or boot; -EBUSY while another entry of this store writes the same process. */
int keep_entry_begin(struct keep_store *store, const struct keep_facts *facts,
                     struct keep_entry **ret_entry);
/* Where the folder is. Lives as long as the entry. */
const char *keep_entry_path(const struct keep_entry *entry);
int keep_entry_add_profile(struct keep_entry *entry, uint64_t unix_ns, const void *data,
                           size_t bytes);
/* Rows not newer than the newest row stored are left out, so that the same ones may be offered
 * again. At least the newest KEEP_ROWS_MAX are kept. */
int keep_entry_add_rows(struct keep_entry *entry, const struct mal_box_history_row *rows,
                        size_t count);
/* Copies the file that the reader holds open, which may have been unlinked. -EINVAL for a reader
 * of memory, -EFBIG for a file that no writer makes. */
int keep_entry_add_box(struct keep_entry *entry, struct mal_box_reader *reader);
/* Replaces the facts atomically; pid, start_ticks, boot and uid stay as at the begin. */
int keep_entry_set_facts(struct keep_entry *entry, const struct keep_facts *facts);
/* Closes the handle; the files stay. Accepts NULL. */
void keep_entry_end(struct keep_entry *entry);
/* Removes the folder and closes the handle. Accepts NULL. */
int keep_entry_discard(struct keep_entry *entry);

#define KEEP_ROWS_MAX 16384u

/* ---- reading: by any user, whatever is found */

/* Calls `visit` for each process that has readable facts. Stops and returns what `visit` returned
 * once that is not 0. */
int keep_each(struct keep_store *store,
              int (*visit)(const struct keep_facts *facts, const char *folder_path, void *context),
              void *context);

/* `folder` is the path of one process's folder. pid, start_ticks and boot are those of its name.
 * Free with keep_facts_free. */
int keep_read_facts(const char *folder, struct keep_facts *ret_facts);

struct keep_profile {
    uint64_t unix_s;
    uint64_t bytes; /* length of the file */
};
/* The newest `max` profiles, oldest first. Returns their count or -errno. */
long keep_profiles(const char *folder, struct keep_profile *ret_profiles, size_t max);
/* A descriptor of the profile's file, or -errno. */
int keep_profile_open(const char *folder, uint64_t unix_s);

/* The newest `max` rows within [from, to], oldest first. Returns their count or -errno. */
long keep_rows(const char *folder, uint64_t from_unix_ns, uint64_t to_unix_ns,
               struct mal_box_history_row *ret_rows, size_t max);

/* The kept copy of the box, for reading only. -ENOENT when there is none. */
int keep_box_open(const char *folder, struct mal_box_reader **ret_reader);

/* ---- names */

/* Lets `symbols` look up names that were resolved earlier, and keep new ones where the store was
 * opened for writing. The store must outlive `symbols`. */
int keep_symbols_attach(struct keep_store *store, struct view_symbols *symbols);

#endif
