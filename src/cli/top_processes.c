/* SPDX-License-Identifier: Apache-2.0
 *
 * The page of all living processes that have a box here.
 *
 * Each process writes one row of its history a second; rates and growth come from those rows, so
 * the first picture is as complete as the tenth and no state is kept from round to round.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"

#include "base/now.h"

#include "cli/clip.h"
#include "cli/processes.h"
#include "cli/top.h"
#include "cli/trend.h"

#include "view/table.h"
#include "view/view.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PID, RSS, LIVE, GROWTH, ALLOC, OBJECTS, CACHES, FREE, COMMAND };

static const struct cli_column columns[] = {
    [PID] = {"pid", "PID", 7, CLI_ID},
    [RSS] = {"rss", "RSS", 9, CLI_BYTES},
    [LIVE] = {"live", "LIVE", 9, CLI_BYTES},
    [GROWTH] = {"growth", "GROWTH/H", 10, CLI_CHANGE},
    [ALLOC] = {"alloc", "ALLOC/S", 9, CLI_BYTES},
    [OBJECTS] = {"objects", "OBJ/S", 8, CLI_COUNT},
    [CACHES] = {"caches", "CACHES", 9, CLI_BYTES},
    [FREE] = {"free", "FREE", 9, CLI_BYTES},
    [COMMAND] = {"command", "COMMAND", 0, CLI_TEXT},
};

void top_processes_page(struct top_page *ret_page) {
    *ret_page =
        (struct top_page){.table = {.columns = columns, .column_count = MAL_COUNT_OF(columns)},
                          .sort = RSS,
                          .nothing = "no process that runs on Mallard has a box here"};
}

struct collecting {
    struct cli_table *table;
    struct mal_box_history_row *rows; /* room for a whole history */
    uint64_t now_unix_ns;
    double window_s;
    double rss_bytes, live_bytes, alloc_bytes_per_s; /* of all */
};

/* The same process has the same id in every round; 0 is nobody's. */
static uint64_t id_of(const struct mal_identity *identity) {
    uint64_t id = view_hash_word(identity->pid, identity->start_ticks);
    return id != 0 ? id : 1;
}

static void fill_row(struct collecting *collecting, struct mal_box_reader *reader,
                     struct cli_row *row) {
    struct mal_box_stats stats;
    long count = mal_reader_history(reader, collecting->rows, MAL_BOX_HISTORY_ROWS);
    struct trend trend = trend_of(collecting->rows, count > 0 ? (size_t)count : 0,
                                  collecting->now_unix_ns, collecting->window_s);
    if (mal_reader_stats(reader, &stats) < 0)
        memset(&stats, 0, sizeof stats);
    const uint64_t *value = stats.value;
    row->value[RSS] = (double)value[MAL_STAT_RSS];
    row->value[LIVE] = (double)value[MAL_STAT_HEAP_ALLOC];
    row->value[GROWTH] = trend.growth_bytes_per_hour;
    row->value[ALLOC] = trend.alloc_bytes_per_s;
    row->value[OBJECTS] = trend.allocs_per_s;
    row->value[CACHES] = (double)value[MAL_STAT_CPU_CACHE] + (double)value[MAL_STAT_TRANSFER_CACHE];
    row->value[FREE] =
        fmax((double)value[MAL_STAT_HEAP_IDLE] - (double)value[MAL_STAT_HEAP_RELEASED], 0);
}

static int add_process(struct http_process *process, void *visit_context) {
    struct collecting *collecting = visit_context;
    const struct mal_identity *identity = process->identity;
    bool has_line = identity->cmdline_bytes > 0;
    if (process->status->life != MAL_LIFE_ALIVE)
        return 0;
    char *text = clip_printable(has_line ? identity->cmdline : identity->exe,
                                has_line ? identity->cmdline_bytes : strlen(identity->exe));
    struct cli_row *row = cli_table_add(collecting->table, id_of(identity), text);
    if (row == NULL)
        return 0;
    row->value[PID] = identity->pid;
    fill_row(collecting, process->reader, row);
    collecting->rss_bytes += row->value[RSS];
    collecting->live_bytes += row->value[LIVE];
    collecting->alloc_bytes_per_s += isnan(row->value[ALLOC]) ? 0 : row->value[ALLOC];
    return 0;
}

static void write_title(const struct collecting *collecting, struct top_page *page) {
    char rss[16];
    char live[16];
    char alloc[16];
    char clock[16];
    time_t now = (time_t)(collecting->now_unix_ns / 1000000000u);
    struct tm parts;
    strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&now, &parts));
    view_human_bytes((uint64_t)collecting->rss_bytes, rss);
    view_human_bytes((uint64_t)collecting->live_bytes, live);
    view_human_bytes((uint64_t)collecting->alloc_bytes_per_s, alloc);
    snprintf(page->title, sizeof page->title,
             "mallard top %s   %zu process%s   RSS %s   live %s   allocating %s/s", clock,
             page->table.count, page->table.count == 1 ? "" : "es", rss, live, alloc);
}

void top_processes_collect(struct top_page *page, double window_s) {
    struct collecting collecting = {.table = &page->table,
                                    .rows = calloc(MAL_BOX_HISTORY_ROWS, sizeof *collecting.rows),
                                    .now_unix_ns = mal_now_ns(CLOCK_REALTIME),
                                    .window_s = window_s};
    cli_table_clear(&page->table);
    if (collecting.rows != NULL)
        cli_each(add_process, &collecting);
    free(collecting.rows);
    cli_table_sort(&page->table, page->sort);
    write_title(&collecting, page);
}

/* ---- opening one ---- */

struct search {
    uint64_t id;
    struct mal_box_reader *reader;
};

static int take_if_wanted(struct http_process *process, void *visit_context) {
    struct search *search = visit_context;
    if (id_of(process->identity) != search->id)
        return 0;
    search->reader = process->reader;
    process->taken = true;
    return 1;
}

int top_processes_open(uint64_t id, struct mal_box_reader **ret_reader) {
    struct search search = {.id = id};
    cli_each(take_if_wanted, &search);
    if (search.reader == NULL)
        return -ENOENT;
    *ret_reader = search.reader;
    return 0;
}
