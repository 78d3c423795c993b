/* SPDX-License-Identifier: Apache-2.0
 *
 * What is written of a process, alive and dead.
 *
 * A profile is kept when samples came or went since the one before, a row of statistics when
 * anything did. The first profile comes soon after a process was found: then the names of its code
 * are resolved and kept, while the binary is still the one that runs.
 *
 * Of a dead process: its last profile, the box, and last the facts that tell of its end. Cut short
 * anywhere before that, it is still a process that lived, whose box is still in its folder and will
 * be found there again.
 *
 * What cannot be read from a box is left out of what is kept: a hostile box is its owner's loss.
 * What cannot be written is said once and tried again later.
 *
 * SYNCHRONIZATION  See keeper.c: one thread for one process.
 */
#include "daemon/keeper_private.h"

#include "base/now.h"

#include "daemon/say.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER_BYTES 4096u
#define PROFILE_ROOM_BYTES (64u << 10) /* a usual profile, its folder, facts and names */

/* Errors of the folder and its disk, as opposed to those of one box. */
static bool is_of_the_store(int error) {
    return error != 0 && error != -EBADMSG && error != -EFBIG && error != -EINVAL &&
           error != -EAGAIN && error != -EPROTO && error != -ENODATA;
}

bool keeper_note(struct keeper *keeper, int error) {
    if (!is_of_the_store(error))
        return false;
    daemon_count(&keeper->options.counters->keep_errors, 1);
    daemon_complain(DAEMON_COMPLAINT_KEEP, "cannot write to %s: %s",
                    keep_store_path(keeper->options.store), strerror(-error));
    return true;
}

/* As one that lives, even if it does not: a folder whose facts tell of an end is whole. */
static int begin(struct keeper *keeper, struct process *process) {
    if (process->keep.entry != NULL)
        return 0;
    int error = keep_entry_begin(keeper->options.store, &process->facts, &process->keep.entry);
    if (error < 0)
        return error;
    keeper_weigh(keeper, FOLDER_BYTES);
    char *folder = strdup(keep_entry_path(process->keep.entry));
    if (folder != NULL)
        table_set_folder(keeper->options.table, process, folder);
    return 0;
}

/* What was not readable is no error: -EBADMSG and its like are for the caller to pass over. */
static int write_profile(struct keeper *keeper, struct process *process) {
    struct mal_snapshot *snapshot;
    struct view_buffer profile = {0};
    int error = mal_reader_snapshot(process->reader, &snapshot);
    if (error < 0)
        return error;
    error = view_heap_proto(snapshot, keeper->options.symbols, VIEW_HEAP, &profile);
    mal_snapshot_free(snapshot);
    if (error == 0)
        error = keep_entry_add_profile(process->keep.entry, mal_now_ns(CLOCK_REALTIME),
                                       profile.data, profile.bytes);
    if (error == 0) {
        keeper_weigh(keeper, profile.bytes);
        daemon_count(&keeper->options.counters->profiles_written, 1);
        process->keep.has_profile = true;
    }
    view_buffer_free(&profile);
    return error;
}

static int write_row(struct keeper *keeper, struct process *process) {
    struct mal_box_history_row row;
    long count = mal_reader_history(process->reader, &row, 1);
    if (count <= 0)
        return (int)count;
    int error = keep_entry_add_rows(process->keep.entry, &row, 1);
    if (error == 0)
        atomic_fetch_add(&keeper->weight, sizeof row);
    return error;
}

/* ---- one living process ---- */

static int write_living(struct keeper *keeper, struct process *process, const uint64_t *now) {
    struct process_kept *kept = &process->keep;
    keeper_make_room(keeper, PROFILE_ROOM_BYTES);
    int error = begin(keeper, process);
    if (error < 0)
        return error;
    if (!kept->has_profile || now[MAL_STAT_SAMPLES] != kept->samples ||
        now[MAL_STAT_SAMPLES_LIVE] != kept->live)
        error = write_profile(keeper, process);
    else
        daemon_count(&keeper->options.counters->profiles_skipped, 1);
    if (!is_of_the_store(error))
        error = write_row(keeper, process);
    if (!is_of_the_store(error)) {
        kept->samples = now[MAL_STAT_SAMPLES];
        kept->live = now[MAL_STAT_SAMPLES_LIVE];
        kept->mallocs = now[MAL_STAT_MALLOCS];
        kept->frees = now[MAL_STAT_FREES];
        daemon_content(DAEMON_COMPLAINT_KEEP);
    }
    return error;
}

void keeper_do_profile(struct keeper *keeper, struct process *process) {
    const struct process_kept *kept = &process->keep;
    struct mal_box_stats *stats = malloc(sizeof *stats);
    int error = stats != NULL ? mal_reader_stats(process->reader, stats) : -ENOMEM;
    const uint64_t *now = stats != NULL ? stats->value : NULL;
    bool unchanged = error == 0 && kept->has_profile && now[MAL_STAT_MALLOCS] == kept->mallocs &&
                     now[MAL_STAT_FREES] == kept->frees;
    if (unchanged)
        daemon_count(&keeper->options.counters->profiles_skipped, 1);
    else if (error == 0)
        keeper_note(keeper, write_living(keeper, process, now));
    free(stats);
    atomic_store(&process->queued, false);
}

/* ---- one dead process ---- */

/* What the box takes of memory, which its copy takes of the disk at most. */
static uint64_t box_bytes(const struct process *process) {
    struct stat status;
    if (fstat(mal_reader_fd(process->reader), &status) != 0)
        return 0;
    return (uint64_t)status.st_blocks * 512u;
}

static int write_dead(struct keeper *keeper, struct process *process) {
    int error = begin(keeper, process);
    if (error < 0)
        return error;
    error = write_profile(keeper, process);
    if (!is_of_the_store(error))
        error = write_row(keeper, process);
    if (!is_of_the_store(error)) {
        error = keep_entry_add_box(process->keep.entry, process->reader);
        keeper_weigh(keeper, box_bytes(process));
    }
    return is_of_the_store(error)
               ? error
               : keep_entry_set_facts(process->keep.entry, &process->loop.verdict);
}

static struct process *make_dead(const struct process *process) {
    struct process *dead = process_new();
    if (dead == NULL)
        return NULL;
    dead->folder = strdup(keep_entry_path(process->keep.entry));
    if (dead->folder != NULL && process_copy_facts(&process->loop.verdict, &dead->facts) == 0)
        return dead;
    process_free(dead);
    return NULL;
}

/* Takes its place in the table. */
static int enshrine(struct keeper *keeper, struct process *process) {
    struct process *dead = make_dead(process);
    if (dead == NULL)
        return -ENOMEM;
    table_replace(keeper->options.table, process, dead, PROCESS_DEAD);
    table_unref(keeper->options.table, dead);
    keep_entry_end(process->keep.entry);
    process->keep.entry = NULL;
    return 0;
}

int keeper_do_bury(struct keeper *keeper, struct process *process) {
    keeper_make_room(keeper, box_bytes(process) + PROFILE_ROOM_BYTES);
    int error = write_dead(keeper, process);
    if (error == -ENOSPC) {
        keeper_trim(keeper, box_bytes(process) + PROFILE_ROOM_BYTES);
        error = write_dead(keeper, process);
    }
    if (!is_of_the_store(error))
        error = enshrine(keeper, process);
    if (keeper_note(keeper, error))
        return error;
    daemon_content(DAEMON_COMPLAINT_KEEP);
    daemon_count(&keeper->options.counters->processes_kept, 1);
    return 0;
}

void keeper_do_discard(struct process *process) {
    keep_entry_discard(process->keep.entry);
    process->keep.entry = NULL;
}
