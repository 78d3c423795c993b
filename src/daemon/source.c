/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's processes for the servers.
 *
 * Life is what the daemon saw happen to the process, not what its box or a pid says. A dead
 * process's box is the copy that was kept; both look the same to a visitor. A doubtful box is
 * shown to root only, as gone, with the reason why.
 *
 * A process is named by its pid here; a container's own pid for it finds it too, when nothing else
 * has that number. A pid alone means the living one, else the one that ended last; no pid at all
 * the living one that is oldest, else the oldest of the others.
 *
 * SYNCHRONIZATION  The table's lock is held while pointers are copied. Boxes are read by handles of
 * one's own, without it.
 */
#include "daemon/source.h"

#include "daemon/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A pid that no process has: what is dead, doubtful or out of sight takes no orders, whoever may
 * have its number now. */
#define NO_PROCESS UINT32_MAX

static bool viewer_sees(const struct process *process, enum process_state state,
                        const void *context) {
    const uint32_t *viewer_uid = context;
    if (state == PROCESS_DOUBTFUL)
        return *viewer_uid == HTTP_VIEWER_ALL;
    return http_viewer_sees(*viewer_uid, process->facts.uid);
}

/* ---- showing one ---- */

static void judge_life(enum process_state state, struct mal_status *status) {
    if (state == PROCESS_LIVING)
        status->life = status->life == MAL_LIFE_EXITED ? MAL_LIFE_EXITED : MAL_LIFE_ALIVE;
    else if (status->life != MAL_LIFE_EXITED)
        status->life = MAL_LIFE_GONE;
}

static void fill_facts(const struct table_item *item, struct http_facts *facts) {
    const struct process *process = item->process;
    const struct http_key key = {process->facts.pid, process->facts.start_ticks};
    bool lives = item->state == PROCESS_LIVING;
    http_key_text(&key, facts->id);
    facts->host_pid = lives ? process->host_pid : 0;
    facts->uid = process->facts.uid;
    facts->folder = item->folder;
    facts->root = lives ? process->root : "";
    facts->kept = &process->facts;
}

static int show(const struct table_item *item, http_process_visit *visit, void *visit_context) {
    struct mal_box_reader *reader;
    struct mal_identity identity;
    struct mal_status status;
    struct http_facts facts;
    int result = HTTP_UNREADABLE;
    int error = process_open_box(item->process, &reader);
    if (error < 0)
        return http_is_shortage(error) ? error : HTTP_UNREADABLE;
    fill_facts(item, &facts);
    struct http_process process = {reader, &identity, &status, &facts, false};
    if (*facts.root != '\0')
        mal_reader_set_root(reader, facts.root);
    mal_reader_set_pid(reader, facts.host_pid != 0 ? facts.host_pid : NO_PROCESS);
    if (mal_reader_identity(reader, &identity) < 0)
        goto out;
    if (mal_reader_status(reader, &status) == 0) {
        judge_life(item->state, &status);
        result = visit(&process, visit_context);
    }
    mal_identity_free(&identity);
out:
    if (!process.taken)
        mal_reader_close(reader);
    return result;
}

/* ---- all of them ---- */

static int source_each(void *context, uint32_t viewer_uid, http_process_visit *visit,
                       void *visit_context) {
    struct table *table = context;
    struct table_list list;
    int result = table_list(table, viewer_sees, &viewer_uid, &list);
    if (result < 0)
        return result;
    for (size_t i = 0; result == 0 && i < list.count; i++) {
        result = show(&list.items[i], visit, visit_context);
        if (result == HTTP_UNREADABLE)
            result = 0;
    }
    table_list_free(table, &list);
    return result;
}

/* ---- one of them ---- */

/* How well the key fits: 0 not at all, 2 by the pid here, 1 by the one in the container. */
static int fit(const struct http_key *key, const struct process *process) {
    if (key->start_ticks != 0 && key->start_ticks != process->facts.start_ticks)
        return 0;
    if (key->pid == 0 || key->pid == process->facts.pid)
        return 2;
    return key->pid == process->box_pid ? 1 : 0;
}

static bool is_better(const struct http_key *key, const struct table_item *best,
                      const struct table_item *item) {
    bool lives = item->state == PROCESS_LIVING;
    bool best_lives = best->state == PROCESS_LIVING;
    const struct keep_facts *a = &item->process->facts, *b = &best->process->facts;
    if (lives != best_lives)
        return lives;
    if (fit(key, item->process) != fit(key, best->process))
        return fit(key, item->process) > fit(key, best->process);
    if (key->pid == 0)
        return a->started_unix_ns < b->started_unix_ns;
    return a->started_unix_ns > b->started_unix_ns;
}

static const struct table_item *choose(const struct table_list *list, const struct http_key *key) {
    const struct table_item *best = NULL;
    for (size_t i = 0; i < list->count; i++)
        if (fit(key, list->items[i].process) > 0 &&
            (best == NULL || is_better(key, best, &list->items[i])))
            best = &list->items[i];
    return best;
}

static int source_open(void *context, const struct http_ask *ask, http_process_visit *visit,
                       void *visit_context) {
    struct table *table = context;
    struct table_list list;
    int result = table_list(table, viewer_sees, &ask->viewer_uid, &list);
    if (result < 0)
        return result;
    const struct table_item *item = choose(&list, &ask->key);
    result = item != NULL ? show(item, visit, visit_context) : -ENOENT;
    table_list_free(table, &list);
    return result == HTTP_UNREADABLE ? -ENOENT : result;
}

struct http_source daemon_source(struct table *table) {
    return (struct http_source){.open = source_open, .each = source_each, .context = table};
}
