/* SPDX-License-Identifier: Apache-2.0
 *
 * One process in short. Where several know the same thing, the one who was nearer to it counts:
 * what is kept tells how a process died before what `mallard run` wrote into the box, and that
 * before what the box itself can tell.
 *
 * SYNCHRONIZATION  Runs on workers, inside a visit; everything is the caller's own.
 */
#include "http/entry.h"

#include "view/heap.h"
#include "view/history.h"
#include "view/process.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const char *life_word(enum mal_life life) {
    static const char *const words[] = {
        [MAL_LIFE_ALIVE] = "running", [MAL_LIFE_EXITED] = "exited", [MAL_LIFE_GONE] = "gone"};
    return words[life];
}

/* NULL for a living one. */
static const char *death_word(enum keep_death death) {
    static const char *const words[] = {[KEEP_DEATH_NONE] = NULL,
                                        [KEEP_DEATH_UNKNOWN] = "unknown",
                                        [KEEP_DEATH_EXITED] = "exited",
                                        [KEEP_DEATH_SIGNAL] = "signal",
                                        [KEEP_DEATH_OOM] = "oom"};
    return words[death];
}

/* ---- texts */

/* The user's name from /etc/passwd itself: the name service would load its modules into a program
 * that is not ours. */
static char *user_name(uint32_t uid) {
    char room[1024];
    char *name = NULL;
    struct passwd entry, *found;
    FILE *file = fopen("/etc/passwd", "re");
    while (file != NULL && name == NULL &&
           fgetpwent_r(file, &entry, room, sizeof room, &found) == 0)
        if (entry.pw_uid == uid)
            name = strdup(entry.pw_name);
    if (file != NULL)
        fclose(file);
    if (name == NULL && asprintf(&name, "%" PRIu32, uid) < 0)
        name = NULL;
    return name;
}

/* The arguments with spaces between them. */
static char *joined(const char *cmdline, size_t bytes) {
    char *text = strndup("", 0);
    while (bytes > 0 && cmdline[bytes - 1] == '\0')
        bytes--;
    char *larger = text != NULL ? realloc(text, bytes + 1) : NULL;
    if (larger == NULL) {
        free(text);
        return NULL;
    }
    for (size_t i = 0; i < bytes; i++)
        larger[i] = cmdline[i] != '\0' ? cmdline[i] : ' ';
    larger[bytes] = '\0';
    return larger;
}

static const char *behind_slash(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* What people call it: the name it was started by, which a link or a script may have given. */
static char *name_of(const struct mal_identity *identity) {
    const char *name = identity->cmdline_bytes > 0 ? behind_slash(identity->cmdline) : "";
    while (*name == '-')
        name++;
    return strdup(*name != '\0' ? name : behind_slash(identity->exe));
}

static char *copy_of(const char *text) {
    return strdup(text != NULL ? text : "");
}

static int fill_texts(const struct http_process *process, struct http_entry *entry) {
    const struct mal_identity *identity = process->identity;
    const struct keep_facts *kept = process->facts->kept;
    entry->name = name_of(identity);
    entry->cmdline = joined(identity->cmdline, identity->cmdline_bytes);
    entry->exe = strdup(identity->exe);
    entry->user = user_name(entry->uid);
    entry->unit = copy_of(kept != NULL ? kept->unit : NULL);
    entry->container = copy_of(kept != NULL ? kept->container : NULL);
    entry->pod = copy_of(kept != NULL ? kept->pod : NULL);
    return entry->name && entry->cmdline && entry->exe && entry->user && entry->unit &&
                   entry->container && entry->pod
               ? 0
               : -ENOMEM;
}

/* ---- the end */

static char *sentence_of(const struct http_entry *entry) {
    char *text = NULL;
    int bytes = -1;
    const char *name = sigabbrev_np(entry->signal);
    if (entry->death == KEEP_DEATH_SIGNAL && name != NULL)
        bytes = asprintf(&text, "killed by SIG%s", name);
    else if (entry->death == KEEP_DEATH_SIGNAL)
        bytes = asprintf(&text, "killed by signal %d", entry->signal);
    else if (entry->death == KEEP_DEATH_EXITED)
        bytes = asprintf(&text, "exited with status %d", entry->exit_code);
    else if (entry->death == KEEP_DEATH_OOM)
        bytes = asprintf(&text, "killed for want of memory");
    else if (entry->death == KEEP_DEATH_UNKNOWN)
        bytes = asprintf(&text, "ended without an exit; nobody saw how");
    else
        return strdup("");
    return bytes < 0 ? NULL : text;
}

static void fill_kept_death(const struct keep_facts *kept, struct http_entry *entry) {
    entry->death = kept->death;
    entry->signal = kept->signal;
    entry->exit_code = kept->exit_code;
    entry->ended_unix_ns = kept->ended_unix_ns;
}

static void fill_box_death(const struct mal_status *status, struct http_entry *entry) {
    entry->death = KEEP_DEATH_UNKNOWN;
    if (status->reaped && WIFSIGNALED(status->wait_status)) {
        entry->death = KEEP_DEATH_SIGNAL;
        entry->signal = WTERMSIG(status->wait_status);
        entry->ended_unix_ns = status->reaped_unix_ns;
    } else if (status->reaped && WIFEXITED(status->wait_status)) {
        entry->death = KEEP_DEATH_EXITED;
        entry->exit_code = WEXITSTATUS(status->wait_status);
        entry->ended_unix_ns = status->reaped_unix_ns;
    } else if (status->life == MAL_LIFE_EXITED) {
        entry->death = KEEP_DEATH_EXITED;
        entry->exit_code = status->exit_code;
        entry->ended_unix_ns = status->ended_unix_ns;
    }
}

/* When nobody knows when it ended, the last statistics say until when it certainly lived. */
static int fill_death(const struct http_process *process, const struct mal_box_stats *stats,
                      struct http_entry *entry) {
    const struct keep_facts *kept = process->facts->kept;
    const char *told = kept != NULL && kept->sentence != NULL ? kept->sentence : "";
    if (!entry->alive && kept != NULL && kept->death != KEEP_DEATH_NONE)
        fill_kept_death(kept, entry);
    else if (!entry->alive)
        fill_box_death(process->status, entry);
    if (!entry->alive && entry->ended_unix_ns == 0)
        entry->ended_unix_ns = stats->published_unix_ns;
    entry->sentence = !entry->alive && *told != '\0' ? strdup(told) : sentence_of(entry);
    return entry->sentence != NULL ? 0 : -ENOMEM;
}

/* ---- numbers */

/* The live bytes as far as samples tell. */
static uint64_t sampled_live_bytes(struct mal_box_reader *reader) {
    struct mal_snapshot *snapshot;
    double live = 0;
    if (mal_reader_snapshot(reader, &snapshot) < 0)
        return 0;
    for (size_t i = 0; i < snapshot->bucket_count; i++) {
        const struct mal_snapshot_bucket *bucket = &snapshot->buckets[i];
        live += (double)(bucket->allocs - bucket->frees) * (double)bucket->size *
                heap_factor(bucket->size, bucket->rate);
    }
    mal_snapshot_free(snapshot);
    return live < 9e18 ? (uint64_t)live : 0;
}

/* A program that allocated for some milliseconds and then sleeps has no thread that publishes. */
static void fill_unpublished(const struct http_process *process, struct mal_box_stats *stats) {
    struct process_facts facts;
    process_facts_read(process->facts->host_pid, &facts);
    if (facts.resident_bytes != PROCESS_UNKNOWN)
        stats->value[MAL_STAT_RSS] = facts.resident_bytes;
    stats->value[MAL_STAT_HEAP_ALLOC] = sampled_live_bytes(process->reader);
}

static void fill_numbers(const struct http_process *process, struct http_entry_room *room,
                         struct http_entry *entry) {
    if (mal_reader_stats(process->reader, &room->stats) < 0)
        memset(&room->stats, 0, sizeof room->stats);
    if (room->stats.published_unix_ns == 0)
        fill_unpublished(process, &room->stats);
    entry->rate_bytes = process->status->mem_profile_rate;
    entry->rss_bytes = room->stats.value[MAL_STAT_RSS];
    entry->live_bytes = room->stats.value[MAL_STAT_HEAP_ALLOC];
    entry->samples = room->stats.value[MAL_STAT_SAMPLES_LIVE];
    long rows = mal_reader_history(process->reader, room->rows, MAL_BOX_HISTORY_ROWS);
    entry->has_growth =
        rows > 0 && view_history_growth(room->rows, (size_t)rows, &entry->growth_bytes_per_hour);
}

static void fill_limits(const struct keep_facts *kept, struct http_entry *entry) {
    entry->memory_max_bytes = kept != NULL ? kept->memory_max_bytes : KEEP_UNKNOWN;
    entry->memory_peak_bytes = kept != NULL ? kept->memory_peak_bytes : KEEP_UNKNOWN;
    entry->memory_current_bytes = kept != NULL ? kept->memory_current_bytes : KEEP_UNKNOWN;
    entry->oom_kills = kept != NULL ? kept->oom_kills : KEEP_UNKNOWN;
}

int http_entry_fill(const struct http_process *process, struct http_entry_room *room,
                    struct http_entry *ret_entry) {
    struct http_entry entry = {.pid = process->identity->pid,
                               .uid = process->facts->uid,
                               .alive = process->status->life == MAL_LIFE_ALIVE,
                               .life = life_word(process->status->life),
                               .started_unix_ns = process->identity->started_unix_ns};
    memcpy(entry.id, process->facts->id, sizeof entry.id);
    fill_numbers(process, room, &entry);
    fill_limits(process->facts->kept, &entry);
    if (fill_texts(process, &entry) < 0 || fill_death(process, &room->stats, &entry) < 0) {
        http_entry_free(&entry);
        return -ENOMEM;
    }
    *ret_entry = entry;
    return 0;
}

int http_entry_of(struct http_process *process, void *entry) {
    struct http_entry_room *room = malloc(sizeof *room);
    int error = room != NULL ? http_entry_fill(process, room, entry) : -ENOMEM;
    free(room);
    return error;
}

void http_entry_free(struct http_entry *entry) {
    free(entry->name);
    free(entry->cmdline);
    free(entry->exe);
    free(entry->user);
    free(entry->unit);
    free(entry->container);
    free(entry->pod);
    free(entry->sentence);
    *entry = (struct http_entry){0};
}

/* ---- as JSON */

static void death_json(const struct http_entry *entry, struct view_json *json) {
    if (entry->death == KEEP_DEATH_NONE) {
        view_json_null(json, "death");
        return;
    }
    view_json_object(json, "death");
    view_json_text(json, "kind", death_word(entry->death));
    view_json_signed(json, "signal", entry->signal);
    view_json_signed(json, "exit_code", entry->exit_code);
    view_json_text(json, "sentence", entry->sentence);
    view_json_object_end(json);
}

void http_entry_json(const struct http_entry *entry, struct view_json *json) {
    view_json_text(json, "id", entry->id);
    view_json_unsigned(json, "pid", entry->pid);
    view_json_bool(json, "alive", entry->alive);
    view_json_text(json, "life", entry->life);
    view_json_text(json, "name", entry->name);
    view_json_text(json, "cmdline", entry->cmdline);
    view_json_text(json, "exe", entry->exe);
    view_json_unsigned(json, "uid", entry->uid);
    view_json_text(json, "user", entry->user);
    view_json_text(json, "unit", entry->unit);
    view_json_text(json, "container", entry->container);
    view_json_text(json, "pod", entry->pod);
    view_json_unsigned(json, "started_unix_ns", entry->started_unix_ns);
    view_json_unsigned(json, "ended_unix_ns", entry->ended_unix_ns);
    view_json_unsigned(json, "rss_bytes", entry->rss_bytes);
    view_json_unsigned(json, "live_bytes", entry->live_bytes);
    if (entry->has_growth)
        view_json_signed(json, "growth_bytes_per_hour", entry->growth_bytes_per_hour);
    else
        view_json_null(json, "growth_bytes_per_hour");
    view_json_unsigned(json, "samples", entry->samples);
    view_json_unsigned(json, "rate_bytes", entry->rate_bytes);
    death_json(entry, json);
}
