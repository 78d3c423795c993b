/* SPDX-License-Identifier: Apache-2.0
 *
 * Trace lines.
 *
 *     scav # KiB work (bg), # KiB work (eager), # KiB now, #% util[ (forced)]
 *
 * is Go's line since 1.21, field by field: what the background returned since the last line, what
 * allocating threads returned since then (on a forced line: what this release returned), what the
 * OS has back at this moment, and the share of the resident heap that is in use, cut to a whole
 * number. Go prints it once a collection; a heap that is never collected gets it once a round, when
 * there is something to say. A forced line does not reset what the next one counts from.
 *
 * SYNCHRONIZATION: `last_line` belongs to the background thread; what was forced since is counted
 * by whoever forces, a relaxed atomic.
 *
 * Each line is one write. Must never print more than one line a second on its own account.
 */
#include "front/trace.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/format.h"
#include "box/writer.h"
#include "front/options.h"
#include "meta/pagemap.h"
#include "os/say.h"
#include "pageheap/limit.h"
#include "pageheap/pageheap.h"
#include "pageheap/scavenger.h"

#define KIB_SHIFT 10

static struct mal_scavenger_stats last_line; /* background thread only */
static uint64_t last_forced_bytes;           /* relaxed atomic */

static void put_line(const char *line, size_t bytes) {
    if (mal_writer_is_open())
        mal_writer_trace(line, bytes);
    if (mal_options.flags & MAL_OPTION_SCAVTRACE)
        mal_write_error(line, bytes);
}

/* Bytes of the heap by what the OS has of them; holes count as returned. */
struct heap {
    uint64_t used, idle, released;
};

static struct heap heap_now(void) {
    struct mal_pageheap_stats pages = mal_pageheap_stats();
    uint64_t spans = pages.inuse_pages << MAL_PAGE_SHIFT;
    uint64_t holes = mal_min(mal_limit_holes_bytes(), spans);
    return (struct heap){spans - holes, pages.free_pages << MAL_PAGE_SHIFT,
                         (pages.released_pages << MAL_PAGE_SHIFT) + holes};
}

static uint64_t used_percent(struct heap heap) {
    uint64_t resident = heap.used + heap.idle;
    return resident == 0 ? 100 : heap.used * 100 / resident;
}

static void put_scavenge(uint64_t background_bytes, uint64_t eager_bytes, const char *suffix) {
    char line[128];
    struct heap heap = heap_now();
    size_t bytes = mal_format(
        line, sizeof line,
        "scav %lu KiB work (bg), %lu KiB work (eager), %lu KiB now, %lu%% util%s\n",
        (unsigned long)(background_bytes >> KIB_SHIFT), (unsigned long)(eager_bytes >> KIB_SHIFT),
        (unsigned long)(heap.released >> KIB_SHIFT), (unsigned long)used_percent(heap), suffix);
    put_line(line, bytes);
}

void mal_trace_scavenge(void) {
    struct mal_scavenger_stats now = mal_scavenger_stats();
    uint64_t background = now.background_bytes - last_line.background_bytes;
    uint64_t eager = now.eager_bytes - last_line.eager_bytes;
    if (background + eager == 0)
        return;
    last_line = now;
    put_scavenge(background, eager, "");
}

void mal_trace_scavenge_forced(void) {
    uint64_t forced = mal_scavenger_stats().forced_bytes;
    uint64_t before = mal_exchange_acquire(&last_forced_bytes, forced);
    put_scavenge(0, forced > before ? forced - before : 0, " (forced)");
}
