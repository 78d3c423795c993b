/* SPDX-License-Identifier: Apache-2.0
 *
 * The collected heap without its collector: one thread, a world that stands still when the test
 * says so, roots that the test marks itself. Zeroing and alignment of every size, what find-object
 * says of interior pointers, ends, tails and free slots; random graphs against a model through many
 * cycles; tiny, large, freed by hand; the counters' equations.
 */
#include "base/bits.h"
#include "front/thread.h"
#include "gc/callbacks.h"
#include "gc/cycle_private.h"
#include "gc/heap.h"
#include "gc/mark.h"
#include "gc/spans.h"
#include "gc/specials.h"
#include "gc/thread.h"
#include "gc_by_hand.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/clock.h"
#include "os/critical.h"
#include "os/vm.h"
#include "sample/profile.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/seeded.h"

struct node {
    uint64_t number;
    struct node *edge[5];
    uint64_t check;
};
MALLARD_GC_TYPE(node_type, struct node, edge);

#define ROOTS 64
static void *root[ROOTS];

/* A whole cycle with exactly these roots. */
static void collect(void) {
    mal_gc_heap_before_mark();
    mal_gc_heap_start_mark();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    mal_gc_mark_range(worker, (uintptr_t)root, (uintptr_t)(root + ROOTS));
    while (!mal_gc_mark_is_done())
        mal_gc_drain(worker, UINT64_MAX, NULL);
    mal_gc_worker_give(worker);
    assert_true(mal_gc_mark_is_done());
    mal_gc_heap_end_mark();
}

static void collect_and_sweep(void) {
    collect();
    mal_gc_heap_before_mark();
}

static void flush(void) {
    mal_gc_heap_flush(&mal_gc_self->cache);
}

static bool is_found(const void *pointer, const void *object) {
    uintptr_t start = 0;
    size_t bytes;
    return mal_gc_heap_find((uintptr_t)pointer, &start, &bytes) && start == (uintptr_t)object;
}

static bool is_object(const void *pointer) {
    uintptr_t start;
    size_t bytes;
    return mal_gc_heap_find((uintptr_t)pointer, &start, &bytes);
}

static bool is_zero(const char *object, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (object[i] != 0)
            return false;
    return true;
}

static void check_new(char *object, size_t bytes) {
    assert_non_null(object);
    assert_int_equal((uintptr_t)object % 16, 0);
    assert_true(mallard_gc_size(object) >= bytes);
    assert_true(is_zero(object, mallard_gc_size(object)));
}

/* Every size twice: from memory that is fresh, and from memory that was scribbled on and freed. */
static void sizes_are_zeroed_and_aligned(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t bytes = 16; bytes < 70000; bytes += 1 + bytes / 7) {
            char *object[3] = {mallard_gc_alloc(bytes, NULL), mallard_gc_alloc_noscan(bytes),
                               mallard_gc_alloc_noscan(bytes)};
            for (int i = 0; i < 3; i++) {
                check_new(object[i], bytes);
                memset(object[i], 0xdb, mallard_gc_size(object[i]));
            }
        }
        collect();
    }
    collect_and_sweep();
    assert_int_equal(mal_gc_heap_counters().live_bytes, 0);
    assert_int_equal(mal_gc_heap_counters().inuse_pages, 0);
}

static void objects_are_found(void **state) {
    (void)state;
    for (size_t bytes = 16; bytes < 300000; bytes += bytes / 3) {
        char *object = mallard_gc_alloc(bytes, NULL);
        size_t room = mallard_gc_size(object);
        assert_true(room > bytes);
        for (size_t at = 0; at < room; at += 1 + room / 97)
            assert_true(is_found(object + at, object));
        assert_true(is_found(object + bytes, object)); /* one past the end */
        assert_ptr_equal(mallard_gc_base(object + bytes - 1), object);
        assert_int_equal(mallard_gc_size(object + 1), 0);
        flush();
        assert_false(is_found(object + room, object));
    }
    char local, *from_malloc = mallard_malloc(100);
    assert_false(is_object(NULL) || is_object(&local) || is_object(from_malloc) ||
                 is_object((void *)UINTPTR_MAX));
    mallard_free(from_malloc);
    collect_and_sweep();
}

static void free_slots_are_no_objects(void **state) {
    (void)state;
    char *a = mallard_gc_alloc(100, NULL);
    char *b = mallard_gc_alloc(100, NULL);
    root[0] = b;
    flush();
    assert_true(is_object(a) && is_object(b));
    assert_false(is_object(a + 2 * (b - a)));
    collect_and_sweep();
    assert_false(is_object(a));
    assert_true(is_object(b));
    /* Through a pointer to a free slot nothing is marked. */
    root[1] = a;
    collect_and_sweep();
    assert_false(is_object(a));
    memset(root, 0, sizeof root);
    collect_and_sweep();
    assert_false(is_object(b));
}

static void freed_by_hand(void **state) {
    (void)state;
    struct mal_gc_heap_counters before = mal_gc_heap_counters();
    char *small = mallard_gc_alloc_noscan(100), *large = mallard_gc_alloc_noscan(100000);
    mallard_gc_free(small + 16);
    mallard_gc_free(&small);
    mallard_gc_free(NULL);
    assert_true(is_object(small));
    mallard_gc_free(small);
    mallard_gc_free(large);
    mallard_gc_free(small);
    assert_false(is_object(small));
    assert_false(is_object(large));
    flush();
    struct mal_gc_heap_counters after = mal_gc_heap_counters();
    assert_int_equal(after.mallocs - before.mallocs, 2);
    assert_int_equal(after.frees - before.frees, 2);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.inuse_pages, before.inuse_pages);
    /* In an unswept span the neighbours are swept with it; while marking the hint is dropped. */
    root[0] = small = mallard_gc_alloc_noscan(100);
    large = mallard_gc_alloc_noscan(100);
    collect();
    mallard_gc_free(small);
    assert_false(is_object(small) || is_object(large));
    mal_gc_heap_before_mark();
    mal_gc_heap_start_mark();
    small = mallard_gc_alloc_noscan(100);
    mallard_gc_free(small);
    assert_true(is_object(small));
    mal_gc_heap_end_mark();
    memset(root, 0, sizeof root);
    collect_and_sweep();
}

static void tiny_objects_share(void **state) {
    (void)state;
    char *first = mallard_gc_alloc_noscan(4);
    char *second = mallard_gc_alloc_noscan(8);
    assert_ptr_equal(mallard_gc_base(second), mallard_gc_base(first));
    assert_int_equal((uintptr_t)second % 8, 0);
    assert_true(second >= first + 4);
    mallard_gc_free(first); /* the other one lives in it */
    memset(first, 1, 4);
    memset(second, 2, 8);
    root[0] = second;
    collect_and_sweep();
    assert_int_equal(first[3], 1);
    char *later = mallard_gc_alloc_noscan(2);
    assert_ptr_not_equal(mallard_gc_base(later), mallard_gc_base(second));
    memset(root, 0, sizeof root);
    collect_and_sweep();
    assert_false(is_object(first));
}

/* ---- graphs ---- */

#define NODES 20000

static struct node *node[NODES];
static bool expected[NODES];

static void make_nodes(uint64_t *random) {
    for (int i = 0; i < NODES; i++) {
        if (node[i])
            continue;
        node[i] = mallard_gc_new(&node_type);
        assert_true(is_zero((char *)node[i], sizeof *node[i]));
        node[i]->number = (uint64_t)i;
        /* No edge, but it looks like one: not listed, so it keeps nothing alive. */
        node[i]->check = (uintptr_t)node[seeded_below(random, (uint64_t)i + 1)];
    }
}

static void make_edges(uint64_t *random) {
    for (int i = 0; i < NODES; i++)
        for (int e = 0; e < 5; e++) {
            struct node *to = node[seeded_below(random, NODES)];
            uint64_t inside = seeded_below(random, sizeof *to);
            bool is_edge = seeded_below(random, 5) == 0;
            node[i]->edge[e] = is_edge ? (struct node *)(void *)((char *)to + inside) : NULL;
        }
}

static void expect_from(int i) {
    static int stack[NODES];
    int depth = 0;
    if (expected[i])
        return;
    expected[i] = true;
    stack[depth++] = i;
    while (depth > 0) {
        struct node *from = node[stack[--depth]];
        for (int e = 0; e < 5; e++) {
            struct node *to = mallard_gc_base(from->edge[e]);
            if (to && !expected[to->number]) {
                expected[to->number] = true;
                stack[depth++] = (int)to->number;
            }
        }
    }
}

static void choose_roots(uint64_t *random) {
    memset(root, 0, sizeof root);
    memset(expected, 0, sizeof expected);
    for (uint64_t i = seeded_below(random, 4); i < ROOTS; i += 1 + seeded_below(random, 30)) {
        int number = (int)seeded_below(random, NODES);
        root[i] = node[number];
        expect_from(number);
    }
}

static void graphs_match_the_model(void **state) {
    (void)state;
    uint64_t random = seeded_start(71);
    for (int cycle = 0; cycle < 30; cycle++) {
        make_nodes(&random);
        make_edges(&random);
        choose_roots(&random);
        if (seeded_below(&random, 2))
            collect_and_sweep();
        else
            collect();
        uint64_t live = 0;
        for (int i = 0; i < NODES; i++)
            live += expected[i];
        assert_seeded(mal_gc_heap_counters().live_bytes == live * 64);
        mal_gc_heap_before_mark();
        for (int i = 0; i < NODES; i++) {
            assert_seeded(is_object(node[i]) == expected[i]);
            if (!expected[i])
                node[i] = NULL;
            else
                assert_seeded(node[i]->number == (uint64_t)i);
        }
        struct mal_gc_heap_counters now = mal_gc_heap_counters();
        assert_seeded(now.mallocs - now.frees == live);
        assert_seeded(now.total_alloc_bytes - now.total_free_bytes == now.live_bytes);
    }
    memset(root, 0, sizeof root);
    memset(node, 0, sizeof node);
    collect_and_sweep();
    assert_int_equal(mal_gc_heap_counters().inuse_pages, 0);
}

/* A large array, in several oblets, of everything; and what is allocated while marking lives. */
static void large_arrays_are_scanned(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    struct node **array = mallard_gc_alloc(COUNT * sizeof *array, NULL);
    root[0] = array;
    for (int i = 0; i < COUNT; i++)
        array[i] = mallard_gc_new(&node_type);
    collect_and_sweep();
    for (int i = 0; i < COUNT; i++)
        assert_ptr_equal(mallard_gc_base(array[i]), array[i]);
    memset(array, 0, COUNT * sizeof *array);
    mal_gc_heap_start_mark();
    struct node *black = mallard_gc_new(&node_type);
    char *large = mallard_gc_alloc_noscan(50000);
    mal_gc_heap_end_mark();
    mal_gc_heap_before_mark();
    assert_true(is_object(black) && is_object(large));
    assert_int_equal(mal_gc_heap_counters().live_bytes, 64 + 57344);
    memset(root, 0, sizeof root);
    collect_and_sweep();
    assert_int_equal(mal_gc_heap_counters().live_bytes, 0);
}

/* Every object at rate 1, about one in R bytes above; what dies is taken off again. */
static void samples_follow_the_objects(void **state) {
    (void)state;
    enum { COUNT = 4000, BYTES = 112, RATE = 4096 };
    uint64_t rate = mal_thread_set_rate(1);
    uint64_t live = mal_profile_stats().live;
    for (int i = 0; i < COUNT; i++)
        root[0] = mallard_gc_alloc_noscan(BYTES);
    char *by_hand = mallard_gc_alloc_noscan(BYTES), *large = mallard_gc_alloc_noscan(100000);
    assert_int_equal(mal_profile_stats().live, live + COUNT + 2);
    mallard_gc_free(by_hand);
    mallard_gc_free(large);
    assert_int_equal(mal_profile_stats().live, live + COUNT);
    collect_and_sweep();
    assert_int_equal(mal_profile_stats().live, live + 1);
    root[0] = NULL;
    mal_thread_set_rate(RATE);
    uint64_t samples = mal_profile_stats().samples;
    for (int i = 0; i < 100 * COUNT; i++)
        mallard_gc_alloc_noscan(BYTES);
    /* 400 000 draws of p = 1 - exp(-112 / 4096) = 0.027: 10 790 with a deviation of 103. */
    samples = mal_profile_stats().samples - samples;
    assert_true(samples > 10790 - 620 && samples < 10790 + 620);
    collect_and_sweep();
    assert_int_equal(mal_profile_stats().live, live);
    /* One object of a window at a time, the rest of which is given back: 40 000 draws of p = 0.027,
     * 1079 with a deviation of 32. */
    samples = mal_profile_stats().samples;
    for (int i = 0; i < 10 * COUNT; i++) {
        mallard_gc_alloc_noscan(BYTES);
        flush();
    }
    samples = mal_profile_stats().samples - samples;
    assert_true(samples > 1079 - 195 && samples < 1079 + 195);
    mal_thread_set_rate(rate);
    collect_and_sweep();
    assert_int_equal(mal_profile_stats().live, live);
}

/* The multiplication that stands for a division is exact for every offset in every span. */
static void divisions_are_exact(void **state) {
    (void)state;
    for (unsigned class = 1; class < MAL_GC_CLASS_COUNT; class ++) {
        const struct mal_gc_class *info = &mal_gc_class[class];
        for (uint64_t at = 0; at < (uint64_t)info->span_pages * MAL_PAGE_BYTES; at++)
            if (at * info->divide_magic >> MAL_GC_DIVIDE_SHIFT != at / info->size_bytes)
                fail_msg("offset %u in spans of %u bytes", (unsigned)at, info->size_bytes);
    }
}

/* ---- ranges of scan pages ---- */

struct ranges {
    uintptr_t at[4096];
    size_t count;
};

static void note_range(uintptr_t low, uintptr_t high, void *context) {
    struct ranges *ranges = context;
    assert_true(low < high && ranges->count + 2 <= 4096);
    ranges->at[ranges->count++] = low;
    ranges->at[ranges->count++] = high;
}

static bool is_scan(uint32_t page) {
    return page != 0 && !(page & MAL_GC_PAGE_NOSCAN);
}

/* Page by page. */
static void find_ranges(struct ranges *ranges, uint64_t gap_most) {
    uint64_t low = 0, high = 0, limit = mal_gc_tables.limit / MAL_PAGE_BYTES;
    for (uint64_t at = 0; at <= limit; at++) {
        uint32_t page = at < limit ? mal_gc_page_at(at * MAL_PAGE_BYTES) : MAL_GC_PAGE_NOSCAN;
        bool ends = !is_scan(page) && (page != 0 || at - high >= gap_most);
        if (low < high && ends) {
            note_range(mal_gc_tables.base + low * MAL_PAGE_BYTES,
                       mal_gc_tables.base + high * MAL_PAGE_BYTES, ranges);
            low = high;
        }
        if (is_scan(page)) {
            low = low < high ? low : at;
            high = at + 1;
        }
    }
}

static void scan_pages_are_found_in_ranges(void **state) {
    (void)state;
    uint64_t random = seeded_start(23);
    void *kept[400];
    for (size_t i = 0; i < 400; i++) {
        size_t bytes = 1 + seeded_below(&random, 12 * MAL_PAGE_BYTES);
        kept[i] = seeded_below(&random, 4) == 0 ? mallard_gc_alloc_noscan(bytes)
                                                : mallard_gc_alloc(bytes, NULL);
    }
    for (size_t i = 0; i < 400; i++)
        if (seeded_below(&random, 2))
            mallard_gc_free(kept[i]);
    static const uint64_t gaps[] = {0, 1, 4, 63, 64, 65, 256};
    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
        static struct ranges found, wanted;
        found.count = wanted.count = 0;
        mal_gc_heap_each_scan_range(gaps[i], note_range, &found);
        find_ranges(&wanted, gaps[i]);
        assert_int_equal(found.count, wanted.count);
        assert_memory_equal(found.at, wanted.at, found.count * sizeof *found.at);
    }
}

/* ---- very large ---- */

struct table {
    void *head;
    uint64_t number[];
};
MALLARD_GC_TYPE_FLEX(table_type, struct table, (head), number, uint64_t);

#define NEIGHBOURS 64
#define NEIGHBOUR_BYTES (5 * MAL_PAGE_BYTES)
#define VERY_LARGE_BYTES (100u << 20)

static uint64_t pointers_in(const void *object, size_t bytes) {
    uint64_t offset = mal_gc_offset((uintptr_t)object), count = 0;
    for (uint64_t at = offset; at < offset + bytes; at += 64 * sizeof(uintptr_t))
        count += (uint64_t)mal_popcount(*mal_gc_pointer_word(at));
    return count;
}

static size_t resident_line_pages(const void *object, size_t bytes) {
    static unsigned char pages[VERY_LARGE_BYTES / MAL_GC_WINDOW_BYTES];
    uintptr_t page_bytes = mal_vm_page_bytes();
    uintptr_t line = (uintptr_t)mal_gc_line_at(mal_gc_offset((uintptr_t)object));
    uintptr_t low = mal_round_down(line, page_bytes);
    size_t count = 0, most = bytes / MAL_GC_WINDOW_BYTES * sizeof(struct mal_gc_line) / page_bytes;
    assert_int_equal(mincore((void *)low, most * page_bytes, pages), 0);
    for (size_t i = 0; i < most; i++)
        count += pages[i] & 1;
    return count;
}

/* Whether a neighbour lies there, now that lower holes are full. */
static bool is_followed(const char *place) {
    for (int i = 0; i < 200 && !is_object(place); i++)
        mallard_gc_alloc(NEIGHBOUR_BYTES - 1, NULL);
    return is_object(place);
}

/* Whoever stops the world waits for it: nothing is written for the most of it. */
static void very_large_spans_are_cleared_at_once(void **state) {
    (void)state;
    void *neighbour[NEIGHBOURS];
    for (size_t i = 0; i < NEIGHBOURS; i++)
        neighbour[i] = mallard_gc_alloc(NEIGHBOUR_BYTES, NULL);
    unsigned all_followed = 0;
    for (size_t pages = 0; pages < 8; pages++) {
        size_t bytes = VERY_LARGE_BYTES - pages * MAL_PAGE_BYTES;
        void *before = mallard_gc_alloc(bytes - 1, NULL);
        assert_int_equal(pointers_in(before, bytes), bytes / sizeof(uintptr_t));
        const char *behind = (char *)before + bytes;
        bool followed = is_followed(behind);
        all_followed += followed;
        mallard_gc_free(before);
        void *after = mallard_gc_new_flex(&table_type, bytes / sizeof(uint64_t) - 2);
        assert_ptr_equal(before, after);
        if (mal_vm_page_bytes() == MAL_VM_PAGE_BYTES_LEAST)
            assert_in_range(resident_line_pages(after, bytes), 0, 600);
        assert_int_equal(pointers_in(after, bytes), 1);
        if (followed)
            assert_int_equal(pointers_in(behind, MAL_PAGE_BYTES),
                             MAL_PAGE_BYTES / sizeof(uintptr_t));
        assert_int_equal(is_object(behind), followed);
        mallard_gc_free(after);
    }
    assert_true(all_followed > 0);
    for (size_t i = 0; i < NEIGHBOURS; i++)
        assert_int_equal(pointers_in(neighbour[i], NEIGHBOUR_BYTES),
                         NEIGHBOUR_BYTES / sizeof(uintptr_t));
}

/* As fork does, which waits until nobody is inside; who forgot to leave makes the alarm ring. */
static void no_section_is_left_open(void **state) {
    (void)state;
    for (int i = 0; i < 3000; i++)
        assert_non_null(mallard_gc_alloc(64, NULL)); /* refills */
    mallard_gc_free(mallard_gc_alloc(12 * MAL_PAGE_BYTES, NULL));
    collect();
    assert_true(mal_gc_heap_sweep(SIZE_MAX) > 0);
    flush();
    alarm(60);
    mal_gc_gate_shut();
    mal_gc_gate_open();
    alarm(0);
}

/* ---- what comes in between ---- */

/* Runs `between` where the end of the n-th critical section from now on lets a stop in. */
static void (*between)(void);
static int ends_left;

static void at_the_end_of_a_section(void) {
    mal_critical.stop_pending = --ends_left > 0;
    if (ends_left == 0)
        between();
}

static void stop_after(int sections, void (*body)(void)) {
    mal_critical_park = at_the_end_of_a_section;
    between = body;
    ends_left = sections;
    mal_critical.stop_pending = 1;
}

static bool was_stopped(void) {
    mal_critical.stop_pending = 0;
    return ends_left <= 0;
}

static void mark_without_roots(void) {
    mal_gc_heap_end_mark();
    mal_gc_heap_before_mark();
}

/* A mark that begins when a block was taken and its rest was not kept yet: nothing new may get into
 * the block, whose mark was not set. */
static void a_white_block_is_not_shared(void **state) {
    (void)state;
    void (*park)(void) = mal_critical_park;
    int stops = 0;
    for (int sections = 2; sections < 40; sections++) {
        mal_gc_heap_before_mark();
        flush();
        if (sections % 2 == 0)
            mallard_gc_alloc_noscan(2); /* its block has room */
        stop_after(sections / 2, mal_gc_heap_start_mark);
        mallard_gc_alloc_noscan(4);
        if (!was_stopped())
            continue;
        stops++;
        assert_true(mal_gc_heap_is_marked((uintptr_t)mallard_gc_base(mallard_gc_alloc_noscan(4))));
        mark_without_roots();
    }
    assert_true(stops > 2);
    mal_critical_park = park;
    collect_and_sweep();
}

static void *target_of_weak;
static struct mallard_gc_weak *made_between;

/* Records that come later are not looked at. */
static void begin_with_specials(void) {
    mal_gc_heap_start_mark();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    mal_gc_specials_mark_roots(worker);
    while (!mal_gc_mark_is_done())
        mal_gc_drain(worker, UINT64_MAX, NULL);
    mal_gc_worker_give(worker);
}

static void make_it_now(void) {
    made_between = mallard_gc_weak_new(target_of_weak);
}

/* Of one pointer there is one word, whoever was first; and marking that began meanwhile keeps it.
 */
static void weak_words_are_made_once(void **state) {
    (void)state;
    void (*park)(void) = mal_critical_park;
    void (*const bodies[])(void) = {make_it_now, begin_with_specials};
    int stops = 0;
    for (int i = 2; i < 60; i++) {
        bool makes = bodies[i % 2] == make_it_now;
        mal_gc_heap_before_mark();
        root[0] = target_of_weak = mallard_gc_alloc(48, NULL);
        stop_after(i / 2, bodies[i % 2]);
        struct mallard_gc_weak *weak = mallard_gc_weak_new(target_of_weak);
        bool stopped = was_stopped();
        stops += stopped;
        if (stopped && makes)
            assert_ptr_equal(weak, made_between);
        if (stopped && !makes) {
            assert_true(mal_gc_heap_is_marked((uintptr_t)weak));
            mal_gc_heap_end_mark();
        }
    }
    assert_true(stops > 4);
    mal_critical_park = park;
    memset(root, 0, sizeof root);
    collect_and_sweep();
}

/* ---- slots that a thread has set aside ---- */

void mallard_gc_each_object(void (*visit)(void *object, size_t bytes, void *data), void *data);

static void look_away(void *object, size_t bytes, void *data) {
    (void)object, (void)bytes, (void)data;
}

/* One that its window holds beside a new object's. */
static char *slot_beside(void *object) {
    size_t bytes = mallard_gc_size(object);
    for (char *slot = object; (slot += bytes) < (char *)object + MAL_GC_WINDOW_BYTES;)
        if (is_object(slot))
            return slot;
    return NULL;
}

static void *set_aside_and_end(void *unused) {
    (void)unused;
    return slot_beside(mallard_gc_alloc_noscan(48));
}

static void *set_aside_and_look(void *unused) {
    char *slot = set_aside_and_end(unused);
    mallard_gc_each_object(look_away, NULL);
    return is_object(slot) ? slot : NULL;
}

/* A marker that was led to such a slot may be just about to mark it. */
static void slots_are_not_taken_back_while_marking(void **state) {
    void *(*const how[])(void *) = {set_aside_and_end, set_aside_and_look};
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(how); i++) {
        pthread_t thread;
        void *slot;
        collect_and_sweep();
        mal_gc_heap_start_mark();
        assert_int_equal(pthread_create(&thread, NULL, how[i], NULL), 0);
        assert_int_equal(pthread_join(thread, &slot), 0);
        assert_non_null(slot);
        assert_true(is_object(slot) && mal_gc_heap_is_marked((uintptr_t)slot));
        mark_without_roots();
        collect_and_sweep();
        assert_false(is_object(slot));
        struct mal_gc_heap_counters now = mal_gc_heap_counters();
        assert_int_equal(now.mallocs, now.frees);
        assert_int_equal(now.total_alloc_bytes, now.total_free_bytes);
        assert_int_equal(now.live_bytes, 0);
    }
}

/* ---- what is to be scanned ---- */

static uint64_t scan_bytes(void) {
    flush();
    return mal_gc_heap_levels().scan_bytes;
}

/* Whatever its size, whenever it is made. */
static void what_is_not_scanned_does_not_count_as_that(void **state) {
    static const size_t sizes[] = {16, 48, 1024, 30000, 100000};
    (void)state;
    for (size_t i = 0; i < 2 * MAL_COUNT_OF(sizes); i++) {
        size_t bytes = sizes[i / 2];
        bool marking = i % 2;
        collect_and_sweep();
        assert_int_equal(scan_bytes(), 0);
        if (marking)
            mal_gc_heap_start_mark();
        void *scanned = root[0] = mallard_gc_alloc(bytes - 1, NULL);
        void *other = root[1] = mallard_gc_alloc_noscan(bytes);
        assert_int_equal(scan_bytes(), mallard_gc_size(scanned));
        if (marking)
            mal_gc_heap_end_mark();
        assert_int_equal(scan_bytes(), mallard_gc_size(scanned));
        assert_int_equal(mal_gc_heap_levels().live_bytes,
                         mallard_gc_size(scanned) + mallard_gc_size(other));
        collect_and_sweep();
        assert_int_equal(scan_bytes(), mallard_gc_size(scanned));
        size_t scanned_bytes = mallard_gc_size(scanned);
        mallard_gc_free(other);
        assert_int_equal(scan_bytes(), scanned_bytes);
        mallard_gc_free(scanned);
        assert_int_equal(scan_bytes(), 0);
        memset(root, 0, sizeof root);
    }
}

/* ---- poison ---- */

static bool is_filled(const unsigned char *memory, size_t bytes, unsigned char with) {
    for (size_t i = 0; i < bytes; i++)
        if (memory[i] != with)
            return false;
    return true;
}

/* As gcpoison=1 asks for, and only then. The first of them keeps the others' memory. */
static void the_dead_are_poisoned_where_that_is_wanted(void **state) {
    enum { BYTES = 80, FIRST = 0, DEAD = 1, LIVE = 2 };
    (void)state;
    for (uint32_t wanted = 0; wanted < 2; wanted++) {
        unsigned char *object[3];
        mal_gc_heap_poisons = wanted;
        for (int i = 0; i < 3; i++)
            memset(object[i] = mallard_gc_alloc_noscan(BYTES), 1, BYTES);
        root[0] = object[FIRST];
        root[1] = object[LIVE];
        uintptr_t dead = ~(uintptr_t)object[DEAD];
        object[DEAD] = NULL;
        collect_and_sweep();
        assert_true(is_filled((void *)~dead, BYTES, wanted ? 0xdb : 1));
        assert_true(is_filled(object[FIRST], BYTES, 1) && is_filled(object[LIVE], BYTES, 1));
        memset(root, 0, sizeof root);
        collect_and_sweep();
    }
    mal_gc_heap_poisons = 0;
}

/* ---- freed by hand, in between ---- */

static void what_hangs_on_the_freed_goes_with_it(void **state) {
    (void)state;
    root[0] = mallard_gc_alloc(64, NULL);
    struct mallard_gc_weak *weak = root[1] = mallard_gc_weak_new(root[0]);
    assert_ptr_equal(mallard_gc_weak_get(weak), root[0]);
    mallard_gc_free(root[0]);
    assert_null(mallard_gc_weak_get(weak));
    memset(root, 0, sizeof root);
    collect_and_sweep();
}

/* Whoever sweeps it has read its bits and writes them: the hint is dropped. */
static void nothing_is_freed_in_a_span_that_is_being_swept(void **state) {
    (void)state;
    void *object = root[0] = mallard_gc_alloc(16384 - 1, NULL);
    flush();
    collect();
    struct mal_span *span = mal_pagemap_span_at(object);
    mal_gc_gate_enter();
    mal_lock(&mal_gc_central[span->gc.span_class].lock);
    mal_gc_list_remove(&mal_gc_central[span->gc.span_class], span);
    mal_unlock(&mal_gc_central[span->gc.span_class].lock);
    mallard_gc_free(object);
    assert_true(is_object(object));
    mal_gc_sweep_span(span);
    mal_gc_span_put_back(span);
    mal_gc_sweep_note_done(span->pages);
    mal_gc_gate_leave();
    assert_true(is_object(object));
    memset(root, 0, sizeof root);
    collect_and_sweep();
}

/* ---- finalizers of tiny objects ---- */

static void never_called(void *object) {
    (void)object;
}

static void tiny_neighbours_have_finalizers_of_their_own(void **state) {
    (void)state;
    if (MAL_STOPS_BY_NOTE) /* it starts a thread, beside which the phase changes by hand */
        skip();
    flush();
    char *first = mallard_gc_alloc_noscan(4), *second = mallard_gc_alloc_noscan(4);
    assert_ptr_equal(mallard_gc_base(first), mallard_gc_base(second));
    assert_int_equal(mallard_gc_finalizer_set(first, never_called), 0);
    assert_int_equal(mallard_gc_finalizer_set(second, never_called), 0);
    assert_int_equal(mallard_gc_finalizer_set(second, never_called), -EEXIST);
    assert_int_equal(mallard_gc_finalizer_set(first, NULL), 0);
    assert_int_equal(mallard_gc_finalizer_set(second, never_called), -EEXIST);
    assert_int_equal(mallard_gc_finalizer_set(second, NULL), 0);
    collect_and_sweep();
}

/* ---- objects with finalizers, links, and marking by hand ---- */

static struct mal_gc_worker *begin_by_hand(void) {
    mal_gc_heap_before_mark();
    mal_gc_heap_start_mark();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    mal_gc_specials_mark_roots(worker);
    return worker;
}

static void drain(struct mal_gc_worker *worker) {
    while (mal_gc_drain(worker, UINT64_MAX, NULL) > 0)
        ;
}

static void end_by_hand(struct mal_gc_worker *worker) {
    drain(worker);
    mal_gc_worker_give(worker);
    mal_gc_heap_end_mark();
    mal_gc_heap_before_mark();
}

/* What is stored while marking into a page that such an object reaches into from before it. */
static void the_rest_of_a_finalizers_object_is_seen_again(void **state) {
    enum { BYTES = 20000 };
    (void)state;
    if (MAL_STOPS_BY_NOTE) /* it starts a thread, beside which the phase changes by hand */
        skip();
    void **object = mallard_gc_alloc(BYTES, NULL), *late = mallard_gc_alloc(48, NULL);
    assert_int_equal(mallard_gc_finalizer_set(object, never_called), 0);
    for (size_t page = 0; page < BYTES; page += MAL_PAGE_BYTES) {
        void **place = object + page / sizeof *object;
        struct mal_gc_worker *worker = begin_by_hand();
        drain(worker);
        *place = late;
        mal_gc_specials_rescan(worker, mal_round_down((uintptr_t)place, MAL_PAGE_BYTES),
                               mal_round_up((uintptr_t)(place + 1), MAL_PAGE_BYTES));
        drain(worker);
        *place = NULL;
        assert_true(mal_gc_heap_is_marked((uintptr_t)late));
        mal_gc_mark_word(worker, (uintptr_t)object); /* it stays for the next page */
        end_by_hand(worker);
    }
    assert_int_equal(mallard_gc_finalizer_set(object, NULL), 0);
    collect_and_sweep();
}

/* For libmallard-bdwgc.so, see bdwgc/engine.h. */
int mallard_gc_link_add(void **place, const void *object, unsigned kind);
int mallard_gc_link_remove(void **place, unsigned kind);
int mallard_gc_link_move(void **place, void **to, unsigned kind);
int mallard_gc_finalizer_set_unordered(void *object, void (*function)(void *object));
enum { SHORT, LONG };

static void *disguised(const void *object) {
    return (void *)~(uintptr_t)object;
}

static void links_are_added_moved_and_removed(void **state) {
    static void *a, *b;
    (void)state;
    void *first = root[0] = mallard_gc_alloc(48, NULL), *second = mallard_gc_alloc(48, NULL);
    assert_int_equal(mallard_gc_link_add(&a, second, SHORT), 0);
    assert_int_equal(mallard_gc_link_add(&a, second, LONG), 0); /* beside the short one */
    assert_int_equal(mallard_gc_link_add(&a, first, SHORT), 1); /* is the first's now */
    assert_int_equal(mallard_gc_link_remove(&a, LONG), 1);
    assert_int_equal(mallard_gc_link_remove(&a, LONG), 0);
    assert_int_equal(mallard_gc_link_move(&a, &a, SHORT), 0);
    assert_int_equal(mallard_gc_link_move(&b, &a, SHORT), -ENOENT);
    assert_int_equal(mallard_gc_link_add(&b, first, SHORT), 0);
    assert_int_equal(mallard_gc_link_move(&a, &b, SHORT), 1);
    assert_int_equal(mallard_gc_link_remove(&b, SHORT), 1);
    a = disguised(first);
    collect_and_sweep();
    assert_ptr_equal(a, disguised(first));
    assert_int_equal(mallard_gc_link_move(&a, &b, SHORT), 0);
    b = a;
    root[0] = NULL;
    collect_and_sweep();
    assert_null(b);
    assert_ptr_equal(a, disguised(first));
    assert_int_equal(mallard_gc_link_remove(&b, SHORT), 0);
}

/* A word that dies with its object is forgotten, not written to. */
static void links_die_with_their_words(void **state) {
    (void)state;
    void **holder = mallard_gc_alloc_noscan(64), *object = root[1] = mallard_gc_alloc(48, NULL);
    root[0] = mallard_gc_alloc_noscan(64); /* keeps the holder's memory */
    holder[0] = disguised(object);
    assert_int_equal(mallard_gc_link_add(holder, object, SHORT), 0);
    root[1] = NULL;
    uintptr_t hidden = ~(uintptr_t)holder;
    collect_and_sweep();
    assert_ptr_equal(*(void **)~hidden, disguised(object));
    assert_int_equal(mallard_gc_link_remove((void **)~hidden, SHORT), 0);
    memset(root, 0, sizeof root);
    collect_and_sweep();
}

/* ---- statistics ---- */

static struct mallard_gc_stats stats_now(void) {
    struct mallard_gc_stats stats = {.size = sizeof stats};
    assert_int_equal(mallard_gc_read_stats(&stats), 0);
    return stats;
}

static void cycles_are_counted_with_their_pauses(void **state) {
    (void)state;
    for (uint64_t i = 1; i <= 600; i++) {
        struct mal_gc_run run = {.reasons = i % 3 ? MAL_GC_REASON_HEAP : MAL_GC_REASON_FORCED,
                                 .end_ns = mal_clock_mono_ns()};
        struct mallard_gc_stats before = stats_now();
        mal_gc_stats_count(&run, i, 0);
        struct mallard_gc_stats after = stats_now();
        assert_int_equal(after.num_gc, before.num_gc + 1);
        assert_int_equal(after.num_forced_gc, before.num_forced_gc + (i % 3 == 0));
        assert_int_equal(after.pause_total_ns, before.pause_total_ns + i);
        assert_int_equal(after.pause_ns[before.num_gc % MAL_COUNT_OF(after.pause_ns)], i);
    }
    struct mallard_gc_stats cut = {.size = offsetof(struct mallard_gc_stats, num_forced_gc)};
    cut.num_forced_gc = 12345;
    assert_int_equal(mallard_gc_read_stats(&cut), 0);
    assert_int_equal(cut.num_forced_gc, 12345);
    assert_int_equal(cut.num_gc, stats_now().num_gc);
    assert_int_equal(cut.size, offsetof(struct mallard_gc_stats, num_forced_gc));
    cut.size = 0;
    assert_int_equal(mallard_gc_read_stats(&cut), -EINVAL);
    assert_int_equal(mallard_gc_read_stats(NULL), -EINVAL);
}

/* ---- fork ---- */

static char *slot_of_another; /* atomic */
static uint32_t may_end;      /* atomic */

static void *set_aside_and_wait(void *unused) {
    mal_store_release(&slot_of_another, (char *)set_aside_and_end(unused));
    while (!mal_load_acquire(&may_end))
        poll(NULL, 0, 1);
    return NULL;
}

static int status_of_child(int (*judge)(void)) {
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(judge());
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* What the parent's other threads had set aside is free. */
static int others_slots_are_free(void) {
    return is_object(slot_of_another) || mal_gc_phase != MAL_GC_OFF;
}

/* The marks of a mark that has ended are kept, those of one that has not are not. */
static int the_marked_live(void) {
    mal_gc_heap_before_mark();
    return !is_object(root[0]) << 1 | is_object(root[1]) << 2;
}

static int nothing_is_marked(void) {
    int bad = mal_gc_heap_is_marked((uintptr_t)root[0]) << 1 | (mal_gc_phase != MAL_GC_OFF) << 2;
    collect_and_sweep();
    return bad | !is_object(root[0]) << 3;
}

static void children_find_the_heap_between_two_steps(void **state) {
    pthread_t thread;
    (void)state;
    collect_and_sweep();
    assert_int_equal(pthread_create(&thread, NULL, set_aside_and_wait, NULL), 0);
    while (!mal_load_acquire(&slot_of_another))
        poll(NULL, 0, 1);
    assert_true(is_object(slot_of_another));
    assert_int_equal(status_of_child(others_slots_are_free), 0);
    mal_store_release(&may_end, 1u);
    pthread_join(thread, NULL);

    root[0] = mallard_gc_alloc(100, NULL);
    void *dead = mallard_gc_alloc(100, NULL);
    collect();
    root[1] = dead;
    assert_int_equal(status_of_child(the_marked_live), 0);
    root[1] = NULL;
    mal_gc_heap_before_mark();
    mal_gc_heap_start_mark();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    mal_gc_mark_word(worker, (uintptr_t)root[0]);
    while (!mal_gc_mark_is_done())
        mal_gc_drain(worker, UINT64_MAX, NULL);
    mal_gc_worker_give(worker);
    assert_int_equal(status_of_child(nothing_is_marked), 0);
    mark_without_roots();
    memset(root, 0, sizeof root);
    collect_and_sweep();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_zeroed_and_aligned),
        cmocka_unit_test(objects_are_found),
        cmocka_unit_test(free_slots_are_no_objects),
        cmocka_unit_test(freed_by_hand),
        cmocka_unit_test(tiny_objects_share),
        cmocka_unit_test(graphs_match_the_model),
        cmocka_unit_test(large_arrays_are_scanned),
        cmocka_unit_test(samples_follow_the_objects),
        cmocka_unit_test(divisions_are_exact),
        cmocka_unit_test(scan_pages_are_found_in_ranges),
        cmocka_unit_test(very_large_spans_are_cleared_at_once),
        cmocka_unit_test(a_white_block_is_not_shared),
        cmocka_unit_test(weak_words_are_made_once),
        cmocka_unit_test(slots_are_not_taken_back_while_marking),
        cmocka_unit_test(what_is_not_scanned_does_not_count_as_that),
        cmocka_unit_test(the_dead_are_poisoned_where_that_is_wanted),
        cmocka_unit_test(what_hangs_on_the_freed_goes_with_it),
        cmocka_unit_test(nothing_is_freed_in_a_span_that_is_being_swept),
        cmocka_unit_test(tiny_neighbours_have_finalizers_of_their_own),
        cmocka_unit_test(links_are_added_moved_and_removed),
        cmocka_unit_test(links_die_with_their_words),
        cmocka_unit_test(cycles_are_counted_with_their_pauses),
        cmocka_unit_test(the_rest_of_a_finalizers_object_is_seen_again),
        cmocka_unit_test(children_find_the_heap_between_two_steps),
        cmocka_unit_test(no_section_is_left_open),
    };
    return cmocka_run_group_tests(tests, gc_by_hand, NULL);
}
