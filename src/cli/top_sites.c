/* SPDX-License-Identifier: Apache-2.0
 *
 * The page of one process's call sites: what each function holds, and how fast it allocates.
 *
 * Figures are estimates from samples, as in the heap profile. The rate of a function is the
 * difference of its allocated bytes between two rounds; the first round has none to compare with
 * and shows the mean since the process began.
 *
 * The reader stays open as long as the page: a process that ends leaves its last picture.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/clip.h"
#include "cli/functions.h"
#include "cli/load.h"
#include "cli/processes.h"
#include "cli/top.h"

#include "base/attr.h"
#include "box/reader.h"
#include "view/heap.h"
#include "view/view.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLAT, CUM, OBJECTS, ALLOC, FUNCTION };

static const struct cli_column columns[] = {
    [FLAT] = {"flat", "FLAT", 9, CLI_BYTES},
    [CUM] = {"cum", "CUM", 9, CLI_BYTES},
    [OBJECTS] = {"objects", "OBJECTS", 8, CLI_COUNT},
    [ALLOC] = {"alloc", "ALLOC/S", 9, CLI_BYTES},
    [FUNCTION] = {"function", "FUNCTION", 0, CLI_TEXT},
};

/* What a function had allocated in the round before. */
struct earlier {
    uint64_t id;
    int64_t alloc_bytes;
};

struct top_sites {
    struct mal_box_reader *reader;
    struct view_symbols *symbols;
    struct mal_identity identity;
    struct earlier *earlier; /* by id */
    size_t earlier_count;
    uint64_t earlier_unix_ns; /* 0: no round yet */
};

void top_sites_page(struct top_page *ret_page) {
    *ret_page =
        (struct top_page){.table = {.columns = columns, .column_count = MAL_COUNT_OF(columns)},
                          .sort = FLAT,
                          .nothing = "nothing has been sampled yet"};
}

struct top_sites *top_sites_new(struct mal_box_reader *reader, const struct cli_keeps *keeps) {
    struct top_sites *sites = calloc(1, sizeof *sites);
    bool complete = sites != NULL && mal_reader_identity(reader, &sites->identity) == 0;
    if (complete && cli_keeps_symbols(keeps, &sites->symbols) == 0) {
        sites->reader = reader;
        return sites;
    }
    if (complete)
        mal_identity_free(&sites->identity);
    mal_reader_close(reader);
    free(sites);
    return NULL;
}

void top_sites_free(struct top_sites *sites) {
    if (sites == NULL)
        return;
    mal_identity_free(&sites->identity);
    view_symbols_destroy(sites->symbols);
    mal_reader_close(sites->reader);
    free(sites->earlier);
    free(sites);
}

/* ---- rates ---- */

static uint64_t id_of(const struct cli_function *function) {
    uint64_t id = view_hash_bytes(0, function->name, strlen(function->name));
    return id != 0 ? id : 1;
}

static int by_id(const void *a, const void *b) {
    const struct earlier *left = a;
    const struct earlier *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* Bytes per second; a function that was not there in the round before had allocated nothing. */
static double rate_of(const struct top_sites *sites, uint64_t id, int64_t alloc_bytes,
                      double seconds) {
    const struct earlier key = {.id = id};
    const struct earlier *found =
        sites->earlier_count > 0
            ? bsearch(&key, sites->earlier, sites->earlier_count, sizeof key, by_id)
            : NULL;
    double bytes = (double)alloc_bytes - (found != NULL ? (double)found->alloc_bytes : 0);
    return seconds > 0 ? fmax(bytes, 0) / seconds : NAN;
}

static void remember(struct top_sites *sites, const struct cli_functions *functions,
                     uint64_t unix_ns) {
    struct earlier *made = calloc(functions->count + 1, sizeof *made);
    if (made == NULL)
        return;
    for (size_t i = 0; i < functions->count; i++)
        made[i] = (struct earlier){id_of(&functions->items[i]),
                                   functions->items[i].flat[HEAP_ALLOC_SPACE]};
    qsort(made, functions->count, sizeof *made, by_id);
    free(sites->earlier);
    sites->earlier = made;
    sites->earlier_count = functions->count;
    sites->earlier_unix_ns = unix_ns;
}

/* ---- rows ---- */

/* One row a function that holds or allocates something. */
static int fill(struct top_sites *sites, const struct cli_functions *functions, double seconds,
                struct cli_table *table) {
    for (size_t i = 0; i < functions->count; i++) {
        const struct cli_function *function = &functions->items[i];
        uint64_t id = id_of(function);
        double rate = rate_of(sites, id, function->flat[HEAP_ALLOC_SPACE], seconds);
        if (function->cum[HEAP_INUSE_SPACE] == 0 && !(rate > 0))
            continue;
        struct cli_row *row =
            cli_table_add(table, id, clip_printable(function->name, strlen(function->name)));
        if (row == NULL)
            return -ENOMEM;
        row->value[FLAT] = (double)function->flat[HEAP_INUSE_SPACE];
        row->value[CUM] = (double)function->cum[HEAP_INUSE_SPACE];
        row->value[OBJECTS] = (double)function->flat[HEAP_INUSE_OBJECTS];
        row->value[ALLOC] = rate;
    }
    return 0;
}

static const char *life_text(struct mal_box_reader *reader) {
    static const char *const texts[] = {
        [MAL_LIFE_ALIVE] = "running", [MAL_LIFE_EXITED] = "exited", [MAL_LIFE_GONE] = "was killed"};
    struct mal_status status;
    return mal_reader_status(reader, &status) == 0 ? texts[status.life] : "cannot be read";
}

static void write_title(struct top_sites *sites, struct top_page *page, int64_t live_bytes) {
    struct mal_box_stats stats;
    char rss[16] = "?";
    char live[16];
    char name[96] = "";
    char *safe = clip_printable(sites->identity.exe, strlen(sites->identity.exe));
    if (mal_reader_stats(sites->reader, &stats) == 0 && stats.published_unix_ns != 0)
        view_human_bytes(stats.value[MAL_STAT_RSS], rss);
    view_human_bytes(live_bytes > 0 ? (uint64_t)live_bytes : 0, live);
    struct view_buffer part = {0};
    clip_put(&part, safe != NULL ? safe : "", sizeof name / 4);
    snprintf(name, sizeof name, "%s", part.data != NULL ? part.data : "");
    snprintf(page->title, sizeof page->title, "pid %u %s   %s   RSS %s   live %s (sampled)",
             sites->identity.pid, name, life_text(sites->reader), rss, live);
    view_buffer_free(&part);
    free(safe);
}

static int show(struct top_sites *sites, const struct view_profile *profile,
                struct top_page *page) {
    struct cli_functions functions;
    uint64_t now_ns = profile->time_ns > 0 ? (uint64_t)profile->time_ns : 0;
    uint64_t before_ns =
        sites->earlier_unix_ns != 0 ? sites->earlier_unix_ns : sites->identity.started_unix_ns;
    int error = cli_functions_sum(profile, &functions);
    if (error < 0)
        return error;
    cli_table_clear(&page->table);
    error = fill(sites, &functions, now_ns > before_ns ? (double)(now_ns - before_ns) / 1e9 : 0,
                 &page->table);
    if (error == 0)
        remember(sites, &functions, now_ns);
    write_title(sites, page, functions.total[HEAP_INUSE_SPACE]);
    cli_functions_free(&functions);
    cli_table_sort(&page->table, page->sort);
    return error;
}

int top_sites_collect(struct top_sites *sites, struct top_page *page) {
    struct view_profile profile;
    int error = load_box(sites->reader, sites->symbols, &profile);
    if (error < 0)
        return error;
    error = show(sites, &profile, page);
    view_profile_free(&profile);
    return error;
}
