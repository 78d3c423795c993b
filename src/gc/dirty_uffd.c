/* SPDX-License-Identifier: Apache-2.0
 *
 * Dirty pages by the kernel's asynchronous write protection (os/written.c).
 *
 * A scan goes over a range in pieces of PIECE_BYTES, so that the lock of the address space is never
 * held for long, and within a piece until the kernel has walked to its end: it may stop early, with
 * regions already reported that lie beyond where it stopped. Going on from there can report them a
 * second time and misses none.
 *
 * An error anywhere, also the one for a part of the range that is not watched (any longer), makes
 * the whole range count as written. It is returned and not remembered.
 *
 * Costs, Linux 6.18 in a virtual machine, 4 KiB pages, per page: clear and look at a clean one 0.6
 * ns (64 MiB, page tables in cache) to 2.3 ns (1 GiB); clear a written one 11 to 50 ns, look at it
 * 8 ns; its first write afterwards 0.8 to 1.3 us, later ones nothing. add takes 10 us whatever the
 * length. Watching does not split mappings, releasing a part of one does. Intact huge pages are
 * cleared as such and split by the first write.
 *
 * SYNCHRONIZATION: `written` changes in open, close and forget_in_child only, when nothing else is
 * going on; the rest reads it.
 */
#include "base/bits.h"
#include "gc/dirty.h"
#include "os/countdown.h"
#include "os/vm.h"
#include "os/written.h"

#include <errno.h>

#define PIECE_BYTES ((uintptr_t)32 << 20)
#define REGIONS_AT_ONCE 128u

static struct mal_written written = MAL_WRITTEN_CLOSED;

struct range {
    uintptr_t low, high;
};

static struct range whole_pages(uintptr_t low, uintptr_t high) {
    uintptr_t mask = mal_vm_page_bytes() - 1;
    return (struct range){low & ~mask, (high + mask) & ~mask};
}

/* What the caller asked about, and whom to tell. */
struct report {
    struct range asked;
    mal_gc_dirty_visit *visit; /* or NULL */
    void *context;
};

static void report_regions(const struct report *report, const struct mal_written_region *regions,
                           size_t count) {
    for (size_t i = 0; report->visit && i < count; i++) {
        uintptr_t low = mal_max((uintptr_t)regions[i].low, report->asked.low);
        uintptr_t high = mal_min((uintptr_t)regions[i].high, report->asked.high);
        if (low < high)
            report->visit(low, high, report->context);
    }
}

/* Once the TLBs are flushed, a write to a page is either there or takes a fault. That says nothing
 * of what the same thread wrote or read elsewhere before: the bits that say which words of the page
 * are pointers, and a marker's mark for an object whose words it has read already. Where memory is
 * not as strongly ordered as x86's these need a barrier in every thread, between the clearing and
 * the scan. After errors too: a part may be cleared. Where nothing was written nothing is scanned.
 */
static void settle(enum mal_written_scan scan, const struct report *report, bool any) {
    if (scan == MAL_WRITTEN_CLEAR && report->visit && any)
        mal_barrier_all_threads();
}

/* One piece, until its end. */
static int scan_piece(struct range piece, enum mal_written_scan scan, const struct report *report) {
    struct mal_written_region regions[REGIONS_AT_ONCE];
    while (piece.low < piece.high) {
        struct mal_written_result result;
        int error = mal_written_scan(&written, piece.low, piece.high, scan, regions,
                                     REGIONS_AT_ONCE, &result);
        settle(scan, report, error || result.regions > 0);
        if (error)
            return error;
        report_regions(report, regions, result.regions);
        if (result.walked_to <= piece.low || result.walked_to > piece.high)
            return -EIO;
        piece.low = result.walked_to;
    }
    return 0;
}

static int scan_range(enum mal_written_scan scan, const struct report *report) {
    struct range whole = whole_pages(report->asked.low, report->asked.high);
    while (whole.low < whole.high) {
        struct range piece = {whole.low, mal_min(whole.high, whole.low + PIECE_BYTES)};
        int error = scan_piece(piece, scan, report);
        if (error)
            return error;
        whole.low = piece.high;
    }
    return 0;
}

static int open_uffd(void) {
    return mal_written_open(&written);
}

static void close_uffd(void) {
    mal_written_close(&written);
}

static int add_uffd(uintptr_t low, uintptr_t high) {
    struct range whole = whole_pages(low, high);
    return whole.low < whole.high ? mal_written_watch(&written, whole.low, whole.high) : 0;
}

static int clear_uffd(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context) {
    return scan_range(MAL_WRITTEN_CLEAR, &(struct report){{low, high}, visit, context});
}

static int look_uffd(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context) {
    return scan_range(MAL_WRITTEN_LOOK, &(struct report){{low, high}, visit, context});
}

static void unprotect_uffd(uintptr_t low, uintptr_t high) {
    struct range whole = whole_pages(low, high);
    if (whole.low < whole.high)
        mal_written_unprotect(&written, whole.low, whole.high);
}

static void release_uffd(uintptr_t low, uintptr_t high) {
    struct range whole = whole_pages(low, high);
    if (whole.low < whole.high)
        mal_written_unwatch(&written, whole.low, whole.high);
}

static void forget_uffd_in_child(void) {
    mal_written_forget_in_child(&written);
}

const struct mal_gc_dirty mal_gc_dirty_uffd = {
    .name = "uffd",
    .open = open_uffd,
    .close = close_uffd,
    .add = add_uffd,
    .clear = clear_uffd,
    .look = look_uffd,
    .unprotect = unprotect_uffd,
    .release = release_uffd,
    .forget_in_child = forget_uffd_in_child,
};
