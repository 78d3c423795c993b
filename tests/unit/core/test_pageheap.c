/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans in, spans out: the equation of the page counters after every step, alignment, resizing in
 * place, moving by pages, borrowing for release, locked memory, what goes back when the heap takes
 * more, and the
 * n-th request for memory failing at every n.
 */
#include "base/bits.h"
#include "meta/pagemap.h"
#include "os/vm.h"
#include "pageheap/chunk.h"
#include "pageheap/move.h"
#include "pageheap/pageheap.h"
#include "pageheap/scavenger.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"
#include "support/seeded.h"
#include "support/watched.h"

#define SLOTS 400

static struct mal_span *slot[SLOTS];

static void check_equation(void) {
    struct mal_pageheap_stats stats = mal_pageheap_stats();
    assert_seeded(stats.inuse_pages + stats.free_pages + stats.released_pages ==
                  stats.mapped_pages);
}

/* The first and last bytes of a span carry its slot; another span over it would show. */
static void paint(int i) {
    size_t bytes = (size_t)slot[i]->pages * MAL_PAGE_BYTES;
    slot[i]->base[0] = slot[i]->base[bytes - 1] = (char)(i + 1);
}

static void check_paint(int i) {
    size_t bytes = (size_t)slot[i]->pages * MAL_PAGE_BYTES;
    assert_seeded(slot[i]->base[0] == (char)(i + 1));
    assert_seeded(slot[i]->base[bytes - 1] == (char)(i + 1));
}

static void check_zeroed(const struct mal_span *span) {
    if (!(span->flags & MAL_SPAN_ZEROED))
        return;
    for (size_t at = 0; at < (size_t)span->pages * MAL_PAGE_BYTES; at += 509)
        assert_seeded(span->base[at] == 0);
}

static struct mal_span *random_span(uint64_t *random) {
    if (seeded_below(random, 2) == 0)
        return mal_pageheap_new_class_span(1 + (uint32_t)seeded_below(random, MAL_CLASS_COUNT - 1),
                                           MAL_GROWTH_ALLOWED);
    size_t bytes = seeded_size(random, 22);
    size_t alignment = (size_t)MAL_PAGE_BYTES << seeded_below(random, 8);
    struct mal_span *span = mal_pageheap_new_large_span(bytes, alignment, MAL_GROWTH_ALLOWED);
    assert_seeded(span && (uintptr_t)span->base % alignment == 0);
    assert_seeded((size_t)span->pages * MAL_PAGE_BYTES >= bytes);
    return span;
}

static void free_slot(int i) {
    check_paint(i);
    mal_pageheap_free_span(slot[i]);
    slot[i] = NULL;
}

static void spans_come_and_go(void **state) {
    (void)state;
    uint64_t random = seeded_start(7);
    for (int step = 0; step < 20000; step++) {
        int i = (int)seeded_below(&random, SLOTS);
        if (slot[i]) {
            free_slot(i);
        } else {
            slot[i] = random_span(&random);
            assert_seeded(slot[i]);
            check_zeroed(slot[i]);
            paint(i);
        }
        if (step % 1000 == 0)
            mal_scavenger_release_all();
        check_equation();
    }
}

static void everything_back_is_nothing_in_use(void **state) {
    (void)state;
    for (int i = 0; i < SLOTS; i++)
        if (slot[i])
            free_slot(i);
    struct mal_pageheap_stats stats = mal_pageheap_stats();
    assert_int_equal(stats.inuse_pages, 0);
    assert_int_equal(stats.spans, 0);
    assert_int_equal(stats.span_bytes, 0);
    assert_int_equal(stats.large_bytes, 0);
    check_equation();
}

static void all_idle_memory_can_be_released(void **state) {
    (void)state;
    uint64_t idle = mal_pageheap_stats().free_pages;
    assert_int_equal(mal_scavenger_release_all(), idle * MAL_PAGE_BYTES);
    struct mal_pageheap_stats stats = mal_pageheap_stats();
    assert_int_equal(stats.free_pages, 0);
    assert_int_equal(stats.released_pages, stats.mapped_pages);
    struct mal_span *span =
        mal_pageheap_new_large_span(1 << 20, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    assert_true(span->flags & MAL_SPAN_ZEROED);
    check_zeroed(span);
    mal_pageheap_free_span(span);
    check_equation();
}

static void views_tell_where_spans_lie_and_how_full_they_are(void **state) {
    (void)state;
    struct mal_span_view view[8];
    struct mal_span *full = mal_pageheap_new_class_span(3, MAL_GROWTH_ALLOWED);
    struct mal_span *large =
        mal_pageheap_new_large_span(100000, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    full->free_count -= 6;
    size_t count = 0;
    size_t found = 0;
    for (size_t page = 0; page < mal_pageheap_end_page();) {
        count = mal_pageheap_view(&page, view, 8);
        for (size_t i = 0; i < count; i++) {
            bool is_full = mal_pagemap_address(view[i].page) == full->base;
            bool is_large = mal_pagemap_address(view[i].page) == large->base;
            assert_true(!is_full || (view[i].live == 6 && view[i].objects == full->object_count &&
                                     view[i].class == 3));
            assert_true(!is_large || (view[i].live == 1 && view[i].pages == large->pages));
            found += is_full + is_large;
        }
    }
    assert_int_equal(found, 2);
    full->free_count += 6;
    mal_pageheap_free_span(full);
    mal_pageheap_free_span(large);
}

/* Spans may come and go while a heap is looked at: the cursor may lie inside one then. */
static void a_view_begins_where_a_span_begins(void **state) {
    (void)state;
    struct mal_span_view view[8];
    uint32_t class = mal_class_for(4096);
    struct mal_span *span = mal_pageheap_new_class_span(class, MAL_GROWTH_ALLOWED);
    struct mal_span *behind = mal_pageheap_new_class_span(class, MAL_GROWTH_ALLOWED);
    size_t page = mal_pagemap_page(span->base) + 3;
    bool found = false;
    while (page < mal_pageheap_end_page()) {
        size_t count = mal_pageheap_view(&page, view, 8);
        for (size_t i = 0; i < count; i++) {
            assert_ptr_not_equal(mal_pagemap_address(view[i].page), span->base);
            assert_true(view[i].page < mal_pagemap_page(span->base) ||
                        view[i].page >= mal_pagemap_page(span->base) + span->pages);
            found |= mal_pagemap_address(view[i].page) == behind->base;
        }
    }
    assert_true(found || behind->base < span->base);
    mal_pageheap_free_span(span);
    mal_pageheap_free_span(behind);
}

static void large_spans_resize_in_place(void **state) {
    (void)state;
    struct mal_span *span =
        mal_pageheap_new_large_span(100 * MAL_PAGE_BYTES, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    char *base = span->base;
    memset(base, 7, 100 * MAL_PAGE_BYTES);
    assert_true(mal_pageheap_resize_large(span, 40 * MAL_PAGE_BYTES - 5));
    assert_int_equal(span->pages, 40);
    assert_null(mal_pagemap_span_of(base + 40 * MAL_PAGE_BYTES));
    check_equation();
    assert_true(mal_pageheap_resize_large(span, 90 * MAL_PAGE_BYTES));
    assert_int_equal(span->pages, 90);
    assert_ptr_equal(mal_pagemap_span_of(base + 90 * MAL_PAGE_BYTES - 1), span);
    assert_int_equal(base[40 * MAL_PAGE_BYTES - 1], 7);
    assert_int_equal(mal_pageheap_stats().large_bytes, 90 * MAL_PAGE_BYTES);
    mal_pageheap_free_span(span);
}

static void a_taken_neighbour_stops_growth(void **state) {
    (void)state;
    struct mal_span *span =
        mal_pageheap_new_large_span(10 * MAL_PAGE_BYTES, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    struct mal_span *next =
        mal_pageheap_new_large_span(10 * MAL_PAGE_BYTES, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    assert_ptr_equal(next->base, span->base + 10 * MAL_PAGE_BYTES);
    struct mal_pageheap_stats before = mal_pageheap_stats();
    assert_false(mal_pageheap_resize_large(span, 11 * MAL_PAGE_BYTES));
    assert_int_equal(span->pages, 10);
    struct mal_pageheap_stats after = mal_pageheap_stats();
    assert_memory_equal(&before, &after, sizeof before);
    mal_pageheap_free_span(next);
    assert_true(mal_pageheap_resize_large(span, 11 * MAL_PAGE_BYTES));
    mal_pageheap_free_span(span);
}

static void impossible_sizes_are_refused(void **state) {
    (void)state;
    struct mal_pageheap_stats before = mal_pageheap_stats();
    assert_null(mal_pageheap_new_large_span(SIZE_MAX, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED));
    assert_null(mal_pageheap_new_large_span(PTRDIFF_MAX, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED));
    assert_null(mal_pageheap_new_large_span(mal_pagemap.window_bytes + 1, MAL_PAGE_BYTES,
                                            MAL_GROWTH_ALLOWED));
    assert_null(mal_pageheap_new_large_span(1, (size_t)1 << 62, MAL_GROWTH_ALLOWED));
    struct mal_pageheap_stats after = mal_pageheap_stats();
    assert_memory_equal(&before, &after, sizeof before);
}

static void a_borrowed_run_is_nobody_elses(void **state) {
    (void)state;
    struct mal_span *span =
        mal_pageheap_new_large_span(64 * MAL_PAGE_BYTES, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    mal_pageheap_free_span(span);
    size_t cursor = mal_pageheap_top_chunk(), first = 0;
    size_t pages = mal_pageheap_borrow(16, &cursor, &first);
    assert_int_equal(pages, 16);
    struct mal_span *other =
        mal_pageheap_new_large_span(64 * MAL_PAGE_BYTES, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    size_t other_first = mal_pagemap_page(other->base);
    assert_true(other_first >= first + pages || other_first + 64 <= first);
    check_equation();
    mal_pageheap_return(first, pages, MAL_BORROW_KEPT);
    check_equation();
    mal_pageheap_free_span(other);
}

static struct mal_span *class_span(void) {
    return mal_pageheap_new_class_span(30, MAL_GROWTH_ALLOWED);
}

static struct mal_span *large_span(void) {
    return mal_pageheap_new_large_span(200u << 20, (size_t)1 << 20, MAL_GROWTH_ALLOWED);
}

/* Fails the n-th request from here on, for every n, until `make` succeeds without reaching it. */
static struct mal_span *large(size_t pages) {
    struct mal_span *span =
        mal_pageheap_new_large_span(pages << MAL_PAGE_SHIFT, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    assert_non_null(span);
    return span;
}

static void *borrow_for_ever(void *argument) {
    size_t cursor = mal_pageheap_top_chunk(), first;
    *(size_t *)argument = mal_pageheap_borrow(64, &cursor, &first);
    return NULL;
}

/* As in a forked child: other threads are gone, and what they had borrowed is not lost with them;
 * this one goes on with what it was at. */
static void what_lost_threads_had_borrowed_comes_back(void **state) {
    (void)state;
    mal_pageheap_free_span(large(512));
    struct mal_pageheap_stats before = mal_pageheap_stats();
    size_t lost, cursor = mal_pageheap_top_chunk(), first;
    size_t mine = mal_pageheap_borrow(64, &cursor, &first);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, borrow_for_ever, &lost), 0);
    pthread_join(thread, NULL);
    assert_true(mine > 0 && lost > 0);
    mal_pageheap_forget_in_child();
    assert_int_equal(mal_pageheap_stats().inuse_pages, before.inuse_pages + mine);
    mal_pageheap_return(first, mine, MAL_BORROW_KEPT);
    assert_int_equal(mal_pageheap_stats().inuse_pages, before.inuse_pages);
    assert_int_equal(mal_pageheap_stats().free_pages, before.free_pages);
    mal_pageheap_forget_in_child();
    check_equation();
}

static void survive_every_fault(struct mal_span *(*make)(void), enum mal_vm_fault fault) {
    for (uint64_t n = 1;; n++) {
        assert_true(n < 1000);
        struct mal_pageheap_stats before = mal_pageheap_stats();
        mal_vm_inject_fault(n, fault);
        struct mal_span *span = make();
        mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
        check_equation();
        if (span) {
            memset(span->base, 1, MAL_PAGE_BYTES);
            mal_pageheap_free_span(span);
            check_equation();
            return;
        }
        assert_int_equal(mal_pageheap_stats().spans, before.spans);
        assert_int_equal(mal_pageheap_stats().inuse_pages, before.inuse_pages);
    }
}

/* Everything the heap has is taken first, so that `make` has to grow it. */
static void every_failing_mapping_is_survived(void **state) {
    (void)state;
    struct mal_span *all[64];
    int count = 0;
    mal_vm_inject_fault(1, MAL_VM_FAULT_FROM);
    for (size_t bytes = 1u << 30; bytes >= MAL_PAGE_BYTES && count < 64;) {
        all[count] = mal_pageheap_new_large_span(bytes, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
        if (all[count])
            count++;
        else
            bytes /= 2;
    }
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    survive_every_fault(class_span, MAL_VM_FAULT_FROM);
    survive_every_fault(large_span, MAL_VM_FAULT_FROM);
    survive_every_fault(large_span, MAL_VM_FAULT_ONCE);
    while (count-- > 0)
        mal_pageheap_free_span(all[count]);
    everything_back_is_nothing_in_use(state);
}

static uint64_t idle_pages(void) {
    struct mal_pageheap_stats stats = mal_pageheap_stats();
    return stats.free_pages + stats.released_pages;
}

/* Memory is not looked for elsewhere, and nothing is written for what is not there. */
static void a_growth_without_memory_is_tried_once(void **state) {
    (void)state;
    uint64_t extent = mal_pagemap.extent_granules, calls = mal_vm_map_calls;
    size_t bytes = mal_max(idle_pages() << MAL_PAGE_SHIFT, 1u << 20) + (512u << 20);
    mal_vm_inject_fault(1, MAL_VM_FAULT_FROM);
    assert_null(mal_pageheap_new_large_span(bytes, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED));
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    assert_int_equal(mal_vm_map_calls - calls, 1);
    assert_int_equal(mal_pagemap.extent_granules, extent);
}

static void what_lies_behind_the_heap_is_skipped(void **state) {
    (void)state;
    char *end = mal_pagemap_address(mal_pageheap_end_page());
    char *foreign = mmap(end, MAL_PAGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_equal(foreign, end);
    foreign[0] = 1;
    struct mal_span *span = large(idle_pages() + 1);
    assert_true(span->base > foreign);
    memset(span->base, 2, MAL_PAGE_BYTES);
    assert_int_equal(foreign[0], 1);
    mal_pageheap_free_span(span);
    munmap(foreign, MAL_PAGE_BYTES);
    check_equation();
}

static size_t bytes_of(const struct mal_span *span) {
    return (size_t)span->pages << MAL_PAGE_SHIFT;
}

static size_t mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    size_t lines = 0;
    for (int c; (c = getc(maps)) != EOF;)
        lines += c == '\n';
    fclose(maps);
    return lines;
}

static void write_numbers(struct mal_span *span) {
    for (size_t at = 0; at < bytes_of(span); at += sizeof at)
        memcpy(span->base + at, &at, sizeof at);
}

static void check_numbers(const struct mal_span *span, size_t bytes) {
    size_t number;
    for (size_t at = 0; at < bytes; at += sizeof at) {
        memcpy(&number, span->base + at, sizeof number);
        assert_int_equal(number, at);
    }
}

static void check_empty(const char *memory, size_t bytes) {
    for (size_t at = 0; at < bytes; at++)
        assert_int_equal(memory[at], 0);
}

/* A chain of objects that each grow out of their place, as realloc makes them. */
static void pages_move_with_their_contents(void **state) {
    (void)state;
    mal_scavenger_release_all();
    size_t before = mappings();
    struct mal_span *from = large(40);
    write_numbers(from);
    size_t bytes = bytes_of(from);
    for (size_t pages = 50; pages < 400; pages += 70) {
        struct mal_span *to = large(pages);
        assert_true(to->flags & MAL_SPAN_FRESH);
        assert_int_equal(mal_move_large(from, to), MAL_MOVE_DONE);
        check_numbers(to, bytes);
        check_empty(to->base + bytes, bytes_of(to) - bytes);
        check_empty(from->base, bytes_of(from));
        mal_pageheap_free_span(from);
        check_equation();
        from = to;
    }
    assert_true(mal_pageheap_resize_large(from, bytes));
    assert_false(mal_pageheap_resize_large(from, 2 * bytes));
    check_numbers(from, bytes);
    uint64_t released = mal_pageheap_stats().released_pages;
    mal_pageheap_free_span(from);
    assert_int_equal(mal_pageheap_stats().released_pages, released + (bytes >> MAL_PAGE_SHIFT));
    check_equation();
    if (!memory_has_a_shadow())
        assert_in_range(mappings(), 1, before + 2);
}

/* What the kernel refuses leaves everything as it was: nothing moves, a place stays as it is. */
static void a_refused_move_changes_nothing(void **state) {
    (void)state;
    mal_scavenger_release_all();
    struct mal_span *from = large(40);
    struct mal_span *to = large(50);
    write_numbers(from);
    mal_vm_inject_fault(1, MAL_VM_FAULT_ONCE);
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_REFUSED);
    check_numbers(from, bytes_of(from));
    check_empty(to->base, bytes_of(to));
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_DONE);
    mal_vm_inject_fault(1, MAL_VM_FAULT_FROM);
    assert_true(mal_pageheap_resize_large(to, bytes_of(from)));
    check_numbers(to, bytes_of(to));
    uint64_t released = mal_pageheap_stats().released_pages;
    mal_pageheap_free_span(to);
    assert_int_equal(mal_pageheap_stats().released_pages, released);
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    mal_pageheap_free_span(from);
    assert_int_equal(mal_pageheap_stats().released_pages, released + 40);
    check_equation();
}

static void lock_pages(long call, void *start, size_t bytes) {
    if (is_emulated() || syscall(call, start, bytes) != 0)
        skip();
}

/* The kernel would unlock all of the mapping of which it moves a part: the neighbours as well. */
static void locked_memory_does_not_move(void **state) {
    (void)state;
    mal_scavenger_release_all();
    struct mal_span *from = large(40);
    struct mal_span *to = large(50);
    write_numbers(from);
    lock_pages(SYS_mlock, from->base, bytes_of(from));
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_REFUSED);
    check_numbers(from, bytes_of(from));
    lock_pages(SYS_munlock, from->base, bytes_of(from));
    lock_pages(SYS_mlock, from->base + bytes_of(from) - MAL_PAGE_BYTES, MAL_PAGE_BYTES);
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_REFUSED);
    lock_pages(SYS_munlock, from->base + bytes_of(from) - MAL_PAGE_BYTES, MAL_PAGE_BYTES);
    lock_pages(SYS_mlock, to->base, bytes_of(from));
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_REFUSED);
    lock_pages(SYS_munlock, to->base, bytes_of(from));
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_DONE);
    check_numbers(to, bytes_of(from));
    mal_pageheap_free_span(from);
    mal_pageheap_free_span(to);
}

/* Idle memory of many chunks, a page of which in the middle is locked. */
static char *free_with_a_locked_page(void) {
    enum { PIECES = 40, LOCKED = 20 };
    static struct mal_span *piece[PIECES];
    mal_scavenger_release_all();
    for (int i = 0; i < PIECES; i++)
        write_numbers(piece[i] = large(256));
    char *locked = piece[LOCKED]->base;
    lock_pages(SYS_mlock, locked, MAL_PAGE_BYTES);
    for (int i = 0; i < PIECES; i++)
        mal_pageheap_free_span(piece[i]);
    mal_store_relaxed(&mal_pageheap_surplus_pages, 0);
    return locked;
}

static void what_was_locked_goes_back_when_it_is_free(void **state) {
    (void)state;
    free_with_a_locked_page();
    uint64_t idle = mal_pageheap_stats().free_pages;
    assert_int_equal(mal_scavenger_release_all(), idle << MAL_PAGE_SHIFT);
    assert_int_equal(mal_pageheap_stats().free_pages, 0);
    free_with_a_locked_page();
    mal_store_relaxed(&mal_pageheap_surplus_pages, idle);
    mal_scavenger_swap();
    assert_int_equal(mal_pageheap_stats().free_pages, 0);
    check_equation();
}

/* No more than a chunk stays, until the memory can be had. */
static void what_cannot_go_back_is_passed_over(void **state) {
    (void)state;
    char *locked = free_with_a_locked_page();
    uint64_t idle = mal_pageheap_stats().free_pages;
    mal_vm_inject_fault(1, MAL_VM_FAULT_FROM);
    mal_scavenger_release_all();
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    uint64_t kept = mal_pageheap_stats().free_pages;
    assert_in_range(kept, 1, MAL_CHUNK_PAGES);
    assert_true(kept < idle / 2);
    lock_pages(SYS_munlock, locked, MAL_PAGE_BYTES);
    assert_int_equal(mal_scavenger_release_all(), kept << MAL_PAGE_SHIFT);
    check_equation();
}

/* A process that locks all that it gets would only get it anew. */
static void what_would_be_locked_again_stays(void **state) {
    (void)state;
    char *locked = free_with_a_locked_page();
    if (syscall(SYS_mlockall, MCL_FUTURE | MCL_ONFAULT) != 0)
        skip();
    mal_scavenger_release_all();
    bool stayed = mal_pageheap_stats().free_pages > 0;
    bool is_locked = madvise(locked, MAL_PAGE_BYTES, MADV_DONTNEED) != 0;
    syscall(SYS_munlockall);
    assert_true(stayed && is_locked);
    mal_scavenger_release_all();
    assert_int_equal(mal_pageheap_stats().free_pages, 0);
}

/* Makes the kernel refuse to move a part of memory together with other parts. */
static int watch_faults(void *start, size_t bytes) {
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.range = {(uintptr_t)start, bytes},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0 || ioctl(fd, UFFDIO_REGISTER, &range) != 0)
        skip();
    return fd;
}

static void a_move_that_stops_half_way_is_undone(void **state) {
    (void)state;
    mal_scavenger_release_all();
    struct mal_span *from = large(40);
    struct mal_span *to = large(50);
    write_numbers(from);
    int watch = watch_faults(from->base + bytes_of(from) / 2, MAL_PAGE_BYTES);
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_REFUSED);
    check_numbers(from, bytes_of(from));
    check_empty(to->base, bytes_of(to));
    close(watch);
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_DONE);
    check_numbers(to, bytes_of(from));
    mal_pageheap_free_span(from);
    mal_pageheap_free_span(to);
    check_equation();
}

/* Where most of the new place is resident already, copying is cheaper. */
static void a_resident_place_is_not_thrown_away(void **state) {
    (void)state;
    struct mal_span *used = large(100);
    write_numbers(used);
    const char *place = used->base;
    mal_pageheap_free_span(used);
    mal_store_relaxed(&mal_pageheap_surplus_pages, 0);
    struct mal_span *to = large(80);
    struct mal_span *from = large(40);
    assert_ptr_equal(to->base, place);
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_REFUSED);
    mal_pageheap_free_span(from);
    mal_pageheap_free_span(to);
}

/* Each moved place may be a mapping of its own. Those that are free again count no more. */
static void so_many_moved_places_there_may_be(void **state) {
    (void)state;
    enum { MOST = 1000 };
    static struct mal_span *moved[MOST];
    mal_scavenger_release_all();
    struct mal_span *from = NULL;
    for (int i = 0; i < MOST; i++) {
        from = large(1);
        assert_int_equal(mal_move_large(from, moved[i] = large(2)), MAL_MOVE_DONE);
        mal_pageheap_free_span(from);
    }
    from = large(1);
    struct mal_span *to = large(2);
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_REFUSED);
    mal_pageheap_free_span(moved[0]);
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_DONE);
    for (int i = 1; i < MOST; i++)
        mal_pageheap_free_span(moved[i]);
    mal_pageheap_free_span(from);
    mal_pageheap_free_span(to);
    check_equation();
}

static void set_address_limit(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = mal_min(bytes, limit.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

/* Under a limit below what the process has the kernel takes a place away and has nothing to put
 * there. */
static enum mal_move move_without_address_space(struct mal_span *from, struct mal_span *to) {
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    set_address_limit(1u << 20);
    enum mal_move move = mal_move_large(from, to);
    set_address_limit(before.rlim_cur);
    return move;
}

static void a_lost_place_is_nobodys(void **state) {
    (void)state;
    if (memory_has_a_shadow() || is_emulated())
        skip();
    mal_scavenger_release_all();
    struct mal_span *from = large(40);
    struct mal_span *to = large(50);
    const char *place = to->base;
    write_numbers(from);
    assert_int_equal(move_without_address_space(from, to), MAL_MOVE_LOST);
    check_numbers(from, bytes_of(from));
    struct mal_pageheap_stats before = mal_pageheap_stats();
    mal_pageheap_free_span(to);
    struct mal_pageheap_stats after = mal_pageheap_stats();
    check_equation();
    assert_int_equal(after.lost_pages, before.lost_pages + 50);
    assert_int_equal(after.mapped_pages, before.mapped_pages - 50);
    assert_ptr_equal(mmap((void *)place, 50 * MAL_PAGE_BYTES, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
                     place);
    to = large(50);
    assert_ptr_not_equal(to->base, place);
    assert_int_equal(mal_move_large(from, to), MAL_MOVE_REFUSED);
    mal_pageheap_free_span(from);
    mal_pageheap_free_span(to);
    check_equation();
}

/* Pieces of 1 MiB, every other one free, do not serve a request for 2 MiB: they go back instead. */
static void what_does_not_fit_goes_back(void **state) {
    (void)state;
    enum { PIECES = 64 };
    static struct mal_span *piece[PIECES];
    mal_scavenger_release_all();
    for (int i = 0; i < PIECES; i++)
        piece[i] = large(128);
    for (int i = 0; i < PIECES; i += 2)
        mal_pageheap_free_span(piece[i]);
    mal_store_relaxed(&mal_pageheap_surplus_pages, 0);
    uint64_t resident = PIECES * 128;
    for (int i = 0; i < PIECES; i += 2) {
        piece[i] = large(200);
        mal_scavenger_swap();
        struct mal_pageheap_stats stats = mal_pageheap_stats();
        uint64_t needed = mal_max(resident, stats.inuse_pages);
        assert_in_range(stats.inuse_pages + stats.free_pages, 1, needed + needed / 8);
        check_equation();
    }
    for (int i = 0; i < PIECES; i++)
        mal_pageheap_free_span(piece[i]);
    mal_scavenger_swap();
    assert_int_equal(mal_load_relaxed(&mal_pageheap_surplus_pages), 0);
    everything_back_is_nothing_in_use(state);
}

static struct mal_span *try_large(size_t pages, enum mal_growth growth) {
    return mal_pageheap_new_large_span(pages * MAL_PAGE_BYTES, MAL_PAGE_BYTES, growth);
}

/* As callers do it: growth is allowed to who was refused. */
static struct mal_span *large_with_room(size_t pages) {
    struct mal_span *span = try_large(pages, MAL_GROWTH_REFUSED);
    span = span ? span : try_large(pages, MAL_GROWTH_ALLOWED);
    assert_non_null(span);
    return span;
}

/* Two at a time, each longer than the gaps before it: leaves a gap and a wall of one page. */
static struct mal_span *leave_a_gap(size_t pages) {
    struct mal_span *gap = large_with_room(pages);
    struct mal_span *wall = large_with_room(pages);
    mal_pageheap_free_span(gap);
    assert_true(mal_pageheap_resize_large(wall, MAL_PAGE_BYTES));
    mal_scavenger_release_all();
    return wall;
}

/* As much as was ever there at once may be there again without anybody making room. More may not,
 * until growth was allowed, though there are pages for it. */
static void no_more_at_once_than_ever_without_room_being_made(void **state) {
    (void)state;
    enum { GAPS = 16, PAGES = 4096, MORE = 16 };
    struct mal_span *wall[GAPS];
    struct mal_span *span[GAPS];
    int count = 0;
    for (int i = 0; i < GAPS; i++)
        wall[i] = leave_a_gap(PAGES + MORE * (size_t)i);
    uint64_t mapped_pages = mal_pageheap_stats().mapped_pages;
    while (count < GAPS && (span[count] = try_large(PAGES, MAL_GROWTH_REFUSED)))
        count++;
    assert_in_range(count, 2, GAPS - 2);
    span[count] = try_large(PAGES, MAL_GROWTH_ALLOWED);
    assert_non_null(span[count]);
    assert_int_equal(mal_pageheap_stats().mapped_pages, mapped_pages);
    mal_pageheap_free_span(span[count]);
    mal_scavenger_release_all();
    span[count] = try_large(PAGES, MAL_GROWTH_REFUSED);
    assert_non_null(span[count]);
    for (int i = 0; i <= count; i++)
        mal_pageheap_free_span(span[i]);
    for (int i = 0; i < GAPS; i++)
        mal_pageheap_free_span(wall[i]);
    check_equation();
}

/* A heap that maps chunk by chunk has no more licensed than it had at once, however often it grew.
 */
static void growing_often_licenses_no_more(void **state) {
    (void)state;
    enum { GAPS = 600, PAGES = 512 };
    static struct mal_span *wall[GAPS], *span[GAPS];
    int count = 0;
    for (int i = 0; i < GAPS; i++)
        wall[i] = leave_a_gap(PAGES + (size_t)i);
    while (count < GAPS && (span[count] = try_large(PAGES, MAL_GROWTH_REFUSED)))
        count++;
    assert_in_range(count, 1, GAPS / 2);
    while (count-- > 0)
        mal_pageheap_free_span(span[count]);
    for (int i = 0; i < GAPS; i++)
        mal_pageheap_free_span(wall[i]);
    mal_scavenger_release_all();
    check_equation();
}

/* A run whose memory went back is passed over while one that has all of it is there. */
static void runs_that_have_their_memory_come_first(void **state) {
    (void)state;
    mal_scavenger_release_all();
    struct mal_span *below = large(2 * MAL_CHUNK_PAGES); /* not in the first chunk */
    struct mal_span *low = large(100), *wall = large(1), *high = large(100), *end = large(1);
    const char *low_base = low->base;
    const char *high_base = high->base;
    size_t cursor = mal_pageheap_top_chunk(), first;
    mal_pageheap_free_span(low);
    mal_scavenger_release_all();
    mal_pageheap_free_span(high);
    struct mal_span *span = large(100);
    assert_ptr_equal(span->base, high_base);
    assert_int_equal(mal_pageheap_borrow(1, &cursor, &first), 0);
    struct mal_span *other = large(100);
    assert_ptr_equal(other->base, low_base);
    mal_pageheap_free_span(other);
    mal_pageheap_free_span(span);
    mal_pageheap_free_span(wall);
    mal_pageheap_free_span(end);
    mal_pageheap_free_span(below);
    check_equation();
}

/* Who was allowed to map pages has room made once, not again for what these chunks hold. */
static void what_was_mapped_for_growth_may_be_used(void **state) {
    (void)state;
    mal_scavenger_release_all();
    struct mal_span *grown = large(idle_pages() + 1);
    struct mal_span *more = try_large(MAL_CHUNK_PAGES / 2, MAL_GROWTH_REFUSED);
    assert_non_null(more);
    mal_pageheap_free_span(more);
    mal_pageheap_free_span(grown);
    mal_scavenger_release_all();
    check_equation();
}

/* A buffer that comes and goes is given back a few times, then kept. */
static void what_is_wanted_again_is_conceded(void **state) {
    (void)state;
    enum { PAGES = 16384, MAY_STAY = 256 };
    uint64_t before = mal_scavenger_stats().eager_bytes, first = 0, last = before;
    mal_scavenger_release_all();
    for (int turn = 0; turn < 40; turn++) {
        mal_pageheap_free_span(large(PAGES));
        mal_scavenger_swap();
        assert_true(mal_pageheap_stats().free_pages >= MAY_STAY);
        first = turn == 0 ? mal_scavenger_stats().eager_bytes - before : first;
        last = turn == 38 ? mal_scavenger_stats().eager_bytes : last;
    }
    uint64_t all = mal_scavenger_stats().eager_bytes;
    assert_in_range(first, 1, (PAGES - MAY_STAY) * MAL_PAGE_BYTES);
    assert_in_range(all - before, first + first / 4, 2 * first + (1u << 20));
    assert_true(all - last <= 1u << 20);
}

static void the_goal_is_above_the_peak_by_the_swing_and_a_tenth_at_most(void **state) {
    (void)state;
    assert_int_equal(mal_scavenger_goal_pages(0, 0), 0);
    assert_int_equal(mal_scavenger_goal_pages(1000, 0), 1100);
    assert_int_equal(mal_scavenger_goal_pages(1000, 900), 1100);
    assert_int_equal(mal_scavenger_goal_pages(1000, 970), 1030);
    assert_int_equal(mal_scavenger_goal_pages(1000, 1000), 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_goes_back), /* while nothing is conceded yet */
        cmocka_unit_test(runs_that_have_their_memory_come_first), /* while all is free */
        cmocka_unit_test(no_more_at_once_than_ever_without_room_being_made),
        cmocka_unit_test(growing_often_licenses_no_more),
        cmocka_unit_test(spans_come_and_go),
        cmocka_unit_test(everything_back_is_nothing_in_use),
        cmocka_unit_test(all_idle_memory_can_be_released),
        cmocka_unit_test(views_tell_where_spans_lie_and_how_full_they_are),
        cmocka_unit_test(a_view_begins_where_a_span_begins),
        cmocka_unit_test(large_spans_resize_in_place),
        cmocka_unit_test(a_taken_neighbour_stops_growth),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(a_borrowed_run_is_nobody_elses),
        cmocka_unit_test(what_lost_threads_had_borrowed_comes_back),
        cmocka_unit_test(every_failing_mapping_is_survived),
        cmocka_unit_test(a_growth_without_memory_is_tried_once),
        cmocka_unit_test(pages_move_with_their_contents),
        cmocka_unit_test(a_refused_move_changes_nothing),
        cmocka_unit_test(locked_memory_does_not_move),
        cmocka_unit_test(what_was_locked_goes_back_when_it_is_free),
        cmocka_unit_test(what_cannot_go_back_is_passed_over),
        cmocka_unit_test(what_would_be_locked_again_stays),
        cmocka_unit_test(a_move_that_stops_half_way_is_undone),
        cmocka_unit_test(a_resident_place_is_not_thrown_away),
        cmocka_unit_test(so_many_moved_places_there_may_be),
        cmocka_unit_test(a_lost_place_is_nobodys), /* nothing moves from here on */
        cmocka_unit_test(what_is_wanted_again_is_conceded),
        cmocka_unit_test(what_lies_behind_the_heap_is_skipped),
        cmocka_unit_test(what_was_mapped_for_growth_may_be_used),
        cmocka_unit_test(the_goal_is_above_the_peak_by_the_swing_and_a_tenth_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
