/* SPDX-License-Identifier: Apache-2.0
 *
 * The marker: what each kind of layout leads to, word by word; graphs marked by several threads
 * against the same graph marked by one; pages scanned again; budgets; buffers that cannot be had;
 * and the oracle, which passes what is right and names what is not.
 */
#include "base/bits.h"
#include "gc/cycle.h"
#include "gc/heap.h"
#include "gc/mark.h"
#include "gc/spans.h"
#include "gc/thread.h"
#include "gc_by_hand.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"
#include "os/critical.h"
#include "os/vm.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"
#include "support/seeded.h"

struct pair {
    long number;
    void *pointer;
    long other;
};
struct wide {
    void *first;
    long words[70];
    void *many[80];
    struct pair pair;
};
struct vec {
    size_t length;
    struct vec *next;
    struct pair pair[];
};
struct list {
    long number;
    void *item[];
};
MALLARD_GC_TYPE(pair_type, struct pair, pointer);
MALLARD_GC_TYPE(wide_type, struct wide, first, many, pair.pointer);
MALLARD_GC_TYPE_FLEX(vec_type, struct vec, (next), pair, struct pair, pointer);
MALLARD_GC_TYPE_POINTERS(list_type, struct list, (), item);
MALLARD_GC_TYPE_NOSCAN(bytes_type, char[200]);

/* All of one size class, whose slots lie across words of pointer bits. */
struct early {
    void *pointer;
    long others[5];
};
struct late {
    long others[5];
    void *pointer;
};
MALLARD_GC_TYPE(early_type, struct early, pointer);
MALLARD_GC_TYPE(late_type, struct late, pointer);

static void *root[4];

static void begin(void) {
    mal_gc_heap_before_mark();
    mal_gc_heap_start_mark();
}

static void push_roots(struct mal_gc_worker *worker) {
    mal_gc_mark_range(worker, (uintptr_t)root, (uintptr_t)(root + 4));
}

static void mark_all(void) {
    struct mal_gc_worker *worker = mal_gc_worker_take();
    push_roots(worker);
    while (!mal_gc_mark_is_done())
        mal_gc_drain(worker, UINT64_MAX, NULL);
    mal_gc_worker_give(worker);
}

static void end(void) {
    mal_gc_checkmark(push_roots);
    mal_gc_heap_end_mark();
    mal_gc_heap_before_mark();
}

static void collect(void) {
    begin();
    mark_all();
    end();
}

static void drop_all(void) {
    memset(root, 0, sizeof root);
    collect();
    assert_int_equal(mal_gc_heap_counters().live_bytes, 0);
}

/* ---- layouts ---- */

/* Fills every word of the holder with a pointer to an object of its own; those in `listed` live. */
static void check_layout(void *holder, size_t words, bool (*is_listed)(size_t word)) {
    uintptr_t *word = holder;
    uintptr_t *copy = mallard_malloc(words * sizeof *copy);
    assert_non_null(holder);
    memset(root, 0, sizeof root);
    root[0] = holder;
    for (size_t i = 0; i < words; i++)
        copy[i] = word[i] = (uintptr_t)mallard_gc_alloc_noscan(16);
    collect();
    for (size_t i = 0; i < words; i++)
        if ((mallard_gc_base((void *)copy[i]) != NULL) != is_listed(i))
            fail_msg("word %zu of %zu: %s", i, words, is_listed(i) ? "lost" : "kept");
    mallard_free(copy);
    drop_all();
}

static bool in_pair(size_t word) {
    return word == 1;
}
static bool in_pairs(size_t word) {
    return word % 3 == 1;
}
static bool in_wide(size_t word) {
    return word == 0 || (word > 70 && word <= 150) || word == 152;
}
static bool in_vec(size_t word) {
    return word == 1 || (word >= 2 && (word - 2) % 3 == 1);
}
static bool in_list(size_t word) {
    return word > 0;
}
static bool in_all(size_t word) {
    (void)word;
    return true;
}
static bool in_none(size_t word) {
    (void)word;
    return false;
}

static void layouts_lead_to_their_fields(void **state) {
    (void)state;
    for (int round = 0; round < 2; round++) {
        check_layout(mallard_gc_new(&pair_type), 3, in_pair);
        check_layout(mallard_gc_alloc(100 * sizeof(struct pair), &pair_type), 300, in_pairs);
        check_layout(mallard_gc_new(&wide_type), sizeof(struct wide) / 8, in_wide);
        check_layout(mallard_gc_new(&bytes_type), 25, in_none);
        for (size_t count = 0; count < 30000; count += 1 + count * 2) {
            check_layout(mallard_gc_new_flex(&vec_type, count), 2 + 3 * count, in_vec);
            check_layout(mallard_gc_new_flex(&list_type, count), 1 + count, in_list);
            check_layout(mallard_gc_alloc(8 * count + 8, NULL), count + 1, in_all);
            check_layout(mallard_gc_alloc_noscan(8 * count + 16), count + 2, in_none);
        }
    }
}

/* Neighbours in one word of bits do not disturb each other, whatever the order. */
static void neighbours_keep_their_bits(void **state) {
    (void)state;
    enum { COUNT = 200 };
    struct list *all = mallard_gc_new_flex(&list_type, COUNT);
    uintptr_t kept[COUNT], lost[COUNT];
    root[0] = all;
    for (int i = 0; i < COUNT; i++) {
        struct pair *pair = mallard_gc_new(&pair_type);
        all->item[i] = pair;
        kept[i] = (uintptr_t)(pair->pointer = mallard_gc_alloc_noscan(32));
        lost[i] = (uintptr_t)(pair->other = (long)mallard_gc_alloc_noscan(32));
    }
    collect();
    for (int i = 0; i < COUNT; i++) {
        assert_non_null(mallard_gc_base((void *)kept[i]));
        assert_null(mallard_gc_base((void *)lost[i]));
    }
    drop_all();
}

/* First word, last word, or both may be pointers. */
static uintptr_t *make_one_of_three(unsigned kind) {
    if (kind == 0)
        return mallard_gc_new(&early_type);
    return kind == 1 ? mallard_gc_new(&late_type) : mallard_gc_alloc(40, NULL);
}

static void types_of_one_class_mix(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    struct list *all = mallard_gc_new_flex(&list_type, COUNT);
    static uintptr_t first[COUNT], last[COUNT];
    static unsigned kinds[COUNT];
    uint64_t random = seeded_start(11);
    root[0] = all;
    for (unsigned i = 0; i < COUNT; i++) {
        bool again = i > 0 && seeded_below(&random, 8) != 0;
        kinds[i] = again ? kinds[i - 1] : (unsigned)seeded_below(&random, 3);
        uintptr_t *object = make_one_of_three(kinds[i]);
        assert_int_equal(mallard_gc_size(object), 48);
        all->item[i] = object;
        first[i] = object[0] = (uintptr_t)mallard_gc_alloc_noscan(16);
        last[i] = object[5] = (uintptr_t)mallard_gc_alloc_noscan(16);
    }
    collect();
    for (unsigned i = 0; i < COUNT; i++) {
        assert_seeded((mallard_gc_base((void *)first[i]) != NULL) == (kinds[i] != 1));
        assert_seeded((mallard_gc_base((void *)last[i]) != NULL) == (kinds[i] != 0));
    }
    drop_all();
}

static void arrays_grow(void **state) {
    (void)state;
    struct vec *vec = mallard_gc_resize_flex(NULL, &vec_type, 3);
    root[0] = vec;
    for (size_t length = 3; length < 5000; length += length / 3) {
        void *before = vec;
        root[0] = vec = mallard_gc_resize_flex(vec, &vec_type, length + length / 3);
        assert_non_null(vec);
        assert_true(mallard_gc_size(vec) > 16 + 24 * (length + length / 3));
        if (before != vec)
            assert_int_equal(vec->length, length == 3 ? 0 : ((struct vec *)before)->length);
        vec->length = length;
        for (size_t i = length; i < length + length / 3; i++) {
            assert_null(vec->pair[i].pointer);
            vec->pair[i].pointer = mallard_gc_alloc_noscan(16);
        }
        collect();
        for (size_t i = length; i < length + length / 3; i++)
            assert_non_null(mallard_gc_base(vec->pair[i].pointer));
    }
    /* What is cut off is zero when it comes back. */
    vec = mallard_gc_resize_flex(vec, &vec_type, 10);
    vec = mallard_gc_resize_flex(vec, &vec_type, 20);
    assert_null(vec->pair[15].pointer);
    assert_null(mallard_gc_resize_flex(vec, &vec_type, SIZE_MAX / 8));
    assert_null(mallard_gc_new_flex(&vec_type, SIZE_MAX / 24));
    assert_null(mallard_gc_alloc(SIZE_MAX, NULL));
    drop_all();
}

/* Whoever has filled an array to its slot's end may be left with a pointer behind the last one. */
static void the_end_of_an_array_belongs_to_it(void **state) {
    (void)state;
    for (size_t count = 2; count < 60; count++) {
        char *array = mallard_gc_alloc(count * sizeof(struct pair), &pair_type);
        assert_ptr_equal(mallard_gc_base(array + count * sizeof(struct pair)), array);
        struct list *list = mallard_gc_new_flex(&list_type, count);
        size_t room = (mallard_gc_size(list) - sizeof(long)) / sizeof(void *);
        list = mallard_gc_resize_flex(list, &list_type, room);
        assert_ptr_equal(mallard_gc_base(&list->item[room]), list);
    }
    drop_all();
}

/* The compiler may copy all of it. */
struct padded {
    _Alignas(64) long number;
    char text[];
};
MALLARD_GC_TYPE_NOSCAN(padded_type, struct padded);

static void an_object_without_elements_has_its_padding(void **state) {
    struct mallard_gc_type flex = padded_type;
    (void)state;
    flex.array_offset = offsetof(struct padded, text);
    flex.element_bytes = 1;
    assert_true(mallard_gc_size(mallard_gc_new_flex(&flex, 0)) >= sizeof(struct padded));
    drop_all();
}

/* Arrays by type, in slots whose pointer bits are one word and longer ones. */
static void every_element_is_led_through(void **state) {
    (void)state;
    for (size_t count = 1; count < 60; count++) {
        struct pair *array = root[0] = mallard_gc_alloc(count * sizeof *array, &pair_type);
        for (size_t i = 0; i < count; i++) {
            array[i].pointer = mallard_gc_alloc_noscan(32);
            array[i].other = (long)mallard_gc_alloc_noscan(32);
        }
        collect();
        for (size_t i = 0; i < count; i++) {
            assert_non_null(mallard_gc_base(array[i].pointer));
            assert_null(mallard_gc_base((void *)array[i].other));
        }
    }
    drop_all();
}

/* ---- graphs ---- */

#define NODES 100000

struct node {
    uint64_t number;
    struct node *edge[6];
    uint64_t not_listed;
};
MALLARD_GC_TYPE(node_type, struct node, edge);

/* A random graph of which about half is reachable. */
static void make_graph(uint64_t *random) {
    struct list *all = mallard_gc_new_flex(&list_type, NODES);
    root[1] = all;
    for (uint64_t i = 0; i < NODES; i++) {
        struct node *node = mallard_gc_new(&node_type);
        node->number = i;
        all->item[i] = node;
    }
    for (uint64_t i = 0; i < NODES; i++) {
        struct node *node = all->item[i];
        for (int e = 0; e < 6; e++)
            if (seeded_below(random, 4) == 0)
                node->edge[e] = all->item[seeded_below(random, NODES)];
    }
    root[0] = all->item[0];
    for (int e = 0; e < 6; e++)
        ((struct node *)root[0])->edge[e] = all->item[seeded_below(random, NODES)];
    root[1] = NULL;
}

/* Objects of one size, side by side, that point to those beside them: to where they begin, into
 * them, and behind them. */
enum { NEIGHBOURS = 700 };
struct neighbours {
    uintptr_t object[NEIGHBOURS];
    bool reached[NEIGHBOURS];
    size_t bytes, words;
};

static int neighbour_at(const struct neighbours *all, uintptr_t address) {
    for (int i = 0; i < NEIGHBOURS; i++)
        if (address - all->object[i] < all->bytes)
            return i;
    return -1;
}

static uintptr_t beside(const struct neighbours *all, int i, uint64_t *random) {
    int64_t to = i - 12 + (int64_t)seeded_below(random, 25);
    uintptr_t start = all->object[to < 0 || to >= NEIGHBOURS ? i : to];
    return seeded_below(random, 3) ? start : start + seeded_below(random, 2 * all->bytes);
}

static void link_neighbours(struct neighbours *all, size_t bytes, uint64_t *random) {
    for (int i = 0; i < NEIGHBOURS; i++)
        all->object[i] = (uintptr_t)mallard_gc_alloc(bytes - 8, NULL);
    all->bytes = mallard_gc_size((void *)all->object[0]);
    all->words = all->bytes / sizeof(uintptr_t);
    for (int i = 0; i < NEIGHBOURS; i++)
        for (int e = 0; e < 3; e++)
            if (seeded_below(random, 5) < 2)
                ((uintptr_t *)all->object[i])[seeded_below(random, all->words)] =
                    beside(all, i, random);
}

/* What is reached, as plainly as can be; returns how many. */
static uint64_t reach(struct neighbours *all, uintptr_t address) {
    static int stack[NEIGHBOURS];
    int depth = 0;
    uint64_t count = 0;
    memset(all->reached, 0, sizeof all->reached);
    stack[depth++] = neighbour_at(all, address);
    all->reached[stack[0]] = true;
    while (depth > 0) {
        const uintptr_t *word = (uintptr_t *)all->object[stack[--depth]];
        count++;
        for (size_t w = 0; w < all->words; w++) {
            int to = neighbour_at(all, word[w]);
            if (to >= 0 && !all->reached[to]) {
                all->reached[to] = true;
                stack[depth++] = to;
            }
        }
    }
    return count;
}

static void neighbours_lead_to_each_other(void **state) {
    (void)state;
    static const size_t sizes[] = {16, 32, 48, 80, 112, 176, 240, 256, 448, 512, 576, 1024, 2048};
    static struct neighbours all;
    uint64_t random = seeded_start(21);
    for (size_t i = 0; i < 10 * (sizeof sizes / sizeof *sizes); i++) {
        link_neighbours(&all, sizes[i % (sizeof sizes / sizeof *sizes)], &random);
        root[0] = (void *)(all.object[seeded_below(&random, NEIGHBOURS)] +
                           (seeded_below(&random, 2) ? 0 : all.bytes - 1));
        uint64_t count = reach(&all, (uintptr_t)root[0]);
        collect();
        assert_seeded(mal_gc_heap_counters().marked_bytes == count * all.bytes);
        for (int n = 0; n < NEIGHBOURS; n++)
            assert_seeded((mallard_gc_base((void *)all.object[n]) != NULL) == all.reached[n]);
        drop_all();
    }
}

static void *help(void *unused) {
    struct mal_gc_worker *worker = mal_gc_worker_take();
    while (!mal_gc_mark_is_done())
        mal_gc_drain(worker, 5000, NULL);
    mal_gc_worker_give(worker);
    return unused;
}

static void mark_with(unsigned threads) {
    pthread_t thread[8];
    struct mal_gc_worker *worker = mal_gc_worker_take();
    push_roots(worker);
    for (unsigned i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, help, NULL), 0);
    mal_gc_worker_give(worker);
    help(NULL);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    assert_true(mal_gc_mark_is_done());
}

static void many_threads_mark_what_one_does(void **state) {
    (void)state;
    uint64_t random = seeded_start(5);
    for (int round = 0; round < 10; round++) {
        make_graph(&random);
        begin();
        mark_with((unsigned)seeded_below(&random, 7));
        end();
        uint64_t by_many = mal_gc_heap_counters().marked_bytes;
        collect();
        assert_seeded(mal_gc_heap_counters().marked_bytes == by_many && by_many > 0);
        assert_seeded(mal_gc_heap_counters().live_bytes == by_many);
    }
    drop_all();
}

static void budgets_are_kept(void **state) {
    (void)state;
    uint64_t random = seeded_start(6);
    uint32_t stop = 1;
    make_graph(&random);
    begin();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    push_roots(worker);
    assert_int_equal(mal_gc_drain(worker, UINT64_MAX, &stop), 0);
    uint64_t sum = 0, steps = 0;
    for (uint64_t done; (done = mal_gc_drain(worker, 10000, NULL)) > 0; steps++) {
        assert_true(done < 10000 + 65 * 64);
        sum += done;
    }
    assert_true(steps > 10);
    assert_int_equal(sum, mal_gc_mark_scanned_bytes());
    mal_gc_worker_give(worker);
    end();
    assert_int_equal(sum, mal_gc_heap_counters().marked_bytes); /* all of it may hold pointers */
    drop_all();
}

enum { AGAIN = 600 };

/* Stretches of the range that end anywhere, or pages for whoever drains. */
static void scan_again(uintptr_t low, uintptr_t high, uint64_t *random) {
    struct mal_gc_worker *worker = mal_gc_worker_take();
    if (seeded_next(random) % 2)
        mal_gc_mark_rescan_later(worker, low & ~(uintptr_t)4095, (high + 4095) & ~(uintptr_t)4095);
    else
        for (uintptr_t end; low < high; low = end) {
            end = low + (1 + seeded_next(random) % 400) * sizeof(void *);
            mal_gc_mark_rescan(worker, low, end < high ? end : high);
        }
    while (!mal_gc_mark_is_done())
        mal_gc_drain(worker, UINT64_MAX, NULL);
    mal_gc_worker_give(worker);
}

/* Half of the objects live; each is given something late. */
static void check_scanned_again(size_t words, uint64_t *random) {
    void **live = mallard_gc_alloc(AGAIN * sizeof *live, NULL);
    void **object[AGAIN], *late[AGAIN];
    uintptr_t low = UINTPTR_MAX, high = 0;
    root[0] = live;
    for (size_t i = 0; i < AGAIN; i++) {
        object[i] = mallard_gc_alloc(words * sizeof(void *), NULL);
        late[i] = mallard_gc_alloc_noscan(16);
        live[i] = seeded_next(random) % 2 ? object[i] : NULL;
        low = mal_min(low, (uintptr_t)object[i]);
        high = mal_max(high, (uintptr_t)(object[i] + words));
    }
    begin();
    mark_all();
    for (size_t i = 0; i < AGAIN; i++)
        object[i][seeded_next(random) % words] = late[i];
    scan_again(low, high, random);
    end();
    for (size_t i = 0; i < AGAIN; i++)
        assert_int_equal(mallard_gc_base(late[i]) != NULL, live[i] != NULL);
    drop_all();
}

static void all_words_of_marked_objects_are_scanned_again(void **state) {
    (void)state;
    static const size_t sizes[] = {16, 32, 48, 80, 112, 176, 240, 320, 512, 576, 2048};
    uint64_t random = seeded_start(17);
    for (size_t i = 0; i < 4 * sizeof sizes / sizeof *sizes; i++)
        check_scanned_again(sizes[i / 4] / sizeof(void *) - 1, &random);
}

/* How much of a range that one worker was to scan again another one gets. */
static uint64_t left_for_others(uintptr_t low, uintptr_t high) {
    struct mal_gc_worker *one = mal_gc_worker_take(), *other = mal_gc_worker_take();
    mal_gc_mark_rescan_by_many(one, low, high);
    uint64_t left = mal_gc_drain(other, UINT64_MAX, NULL);
    mal_gc_worker_give(other);
    while (!mal_gc_mark_is_done())
        mal_gc_drain(one, UINT64_MAX, NULL);
    mal_gc_worker_give(one);
    return left;
}

static void long_ranges_are_for_all_workers(void **state) {
    (void)state;
    enum { COUNT = 512 << 10 };
    struct list *list = mallard_gc_new_flex(&list_type, COUNT);
    uintptr_t high = (uintptr_t)&list->item[COUNT - 1];
    root[0] = list;
    void *late = mallard_gc_alloc_noscan(16);
    begin();
    mark_all();
    list->item[COUNT / 2] = late;
    assert_int_equal(left_for_others(high - 8192, high), 0);
    assert_true(left_for_others((uintptr_t)list, high) > COUNT * sizeof(void *) / 2);
    assert_true(mal_gc_heap_is_marked((uintptr_t)late));
    end();
    drop_all();
}

/* What a marked object was given after it was scanned is found when its page is scanned again. */
static void pages_are_scanned_again(void **state) {
    (void)state;
    enum { COUNT = 3000 };
    struct list *list = mallard_gc_new_flex(&list_type, COUNT); /* a large object */
    struct list *small = mallard_gc_new_flex(&list_type, 500); /* over a page's end, some of them */
    root[0] = list;
    root[1] = small;
    void *late[2] = {mallard_gc_alloc_noscan(16), mallard_gc_alloc_noscan(16)};
    void *unseen = mallard_gc_alloc_noscan(16);
    begin();
    mark_all();
    list->item[COUNT - 1] = late[0];
    small->item[499] = late[1];
    struct mal_gc_worker *worker = mal_gc_worker_take();
    uintptr_t page = (uintptr_t)&list->item[COUNT - 1] & ~(uintptr_t)4095;
    mal_gc_mark_rescan(worker, page, page + 4096);
    page = (uintptr_t)&small->item[499] & ~(uintptr_t)4095;
    mal_gc_mark_rescan(worker, page, page + 4096);
    mal_gc_mark_rescan(worker, 0, 4096);
    mal_gc_mark_rescan(worker, UINTPTR_MAX - 8191, UINTPTR_MAX - 4095);
    while (!mal_gc_mark_is_done())
        mal_gc_drain(worker, UINT64_MAX, NULL);
    mal_gc_worker_give(worker);
    end();
    assert_non_null(mallard_gc_base(late[0]));
    assert_non_null(mallard_gc_base(late[1]));
    assert_null(mallard_gc_base(unseen));
    begin();
    mal_gc_shade(late[0]);
    mark_all();
    root[0] = root[1] = NULL;
    end();
    drop_all();
}

/* No memory for buffers, at every n-th request: slower, but complete. */
static void buffers_may_run_out(void **state) {
    (void)state;
    uint64_t random = seeded_start(8);
    uint64_t marked[4];
    make_graph(&random);
    for (uint64_t nth = 1; nth < 4; nth++) {
        begin();
        mal_vm_inject_fault(nth, MAL_VM_FAULT_FROM);
        mark_all();
        mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
        end();
        marked[nth] = mal_gc_heap_counters().marked_bytes;
    }
    collect();
    for (uint64_t nth = 1; nth < 4; nth++)
        assert_seeded(marked[nth] == mal_gc_heap_counters().marked_bytes && marked[nth] > 0);
    drop_all();
}

/* ---- the oracle ---- */

/* ---- slots that are being taken ---- */

#define STALE_SLOTS 512u
#define STALE_BYTES (32u << 10) /* a window has one, and takes longest to be cleared */
#define STALE_ROUNDS 20

static uintptr_t stale[STALE_SLOTS];
static uint32_t all_taken;

/* Every other object stays, so that the spans do. */
static void make_free_slots(void) {
    for (unsigned i = 0; i < STALE_SLOTS; i++)
        stale[i] = (uintptr_t)mallard_gc_alloc_noscan(STALE_BYTES);
    begin();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    for (unsigned i = 0; i < STALE_SLOTS; i += 2)
        mal_gc_mark_word(worker, stale[i]);
    mal_gc_drain(worker, UINT64_MAX, NULL);
    mal_gc_worker_give(worker);
    mal_gc_heap_end_mark();
    mal_gc_heap_before_mark();
}

static void *take_free_slots(void *unused) {
    (void)unused;
    for (unsigned i = 0; i < STALE_SLOTS / 2; i++)
        if (!mallard_gc_alloc_noscan(STALE_BYTES))
            break;
    mal_store_release(&all_taken, 1u);
    return NULL;
}

/* Words of old lead to slots that are free, are just being handed out, or are: as often as a slot's
 * mark is set its bytes are counted, by whoever set it. */
static void slots_that_are_taken_are_counted_once(void **state) {
    (void)state;
    for (int round = 0; round < STALE_ROUNDS; round++) {
        pthread_t taker;
        make_free_slots();
        begin();
        mal_store_relaxed(&all_taken, 0u);
        assert_int_equal(pthread_create(&taker, NULL, take_free_slots, NULL), 0);
        struct mal_gc_worker *worker = mal_gc_worker_take();
        while (!mal_load_acquire(&all_taken)) {
            for (unsigned i = 0; i < STALE_SLOTS; i++)
                mal_gc_mark_word(worker, stale[i]);
            mal_gc_drain(worker, UINT64_MAX, NULL);
        }
        mal_gc_worker_give(worker);
        pthread_join(taker, NULL);
        assert_int_equal(mal_gc_check_marked_bytes(), mal_gc_totals.marked_bytes);
        mal_gc_heap_end_mark();
        mal_gc_heap_before_mark();
        drop_all();
    }
}

static void the_oracle_names_what_is_not_marked(void **state) {
    (void)state;
    struct list *list = mallard_gc_new_flex(&list_type, 3);
    root[0] = list;
    begin();
    mark_all();
    fflush(NULL);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    struct list *white = NULL;
    mal_gc_heap_end_mark();
    mal_gc_heap_before_mark();
    white = mallard_gc_new_flex(&list_type, 3);
    begin();
    mark_all();
    list->item[1] = white; /* behind the marker's back */
    /* Without fork's handlers, which end a mark in the child. */
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        mal_gc_checkmark(push_roots);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    char text[200] = {0}, wanted[200];
    assert_true(read(pipes[0], text, sizeof text - 1) > 0);
    snprintf(wanted, sizeof wanted,
             "mallard: checkmark: an object of 48 bytes at %p is reachable through %p and not "
             "marked\n",
             (void *)white, (void *)&list->item[1]);
    drop_emulators_lines(text);
    assert_string_equal(text, wanted);
    close(pipes[0]);
    close(pipes[1]);
    list->item[1] = NULL;
    end();
    drop_all();
}

/* ---- finalizers that free ---- */

static uint32_t freed;

static void free_it(void *object) {
    mallard_gc_free(object);
    mal_store_release(&freed, 1u);
}

/* In a frame that is gone when marking begins. */
static __attribute__((noinline)) uint64_t make_mortal(void) {
    void *object = mallard_gc_alloc_noscan(1 << 20);
    assert_int_equal(mallard_gc_finalizer_set(object, free_it), 0);
    return mallard_gc_size(object);
}

/* No mark had counted it, and it is subtracted: what is live would be less than nothing. The thread
 * that runs callbacks may be so early that the phase, which changes by hand here, is still that of
 * marking; then nothing is freed before the next cycle. */
static void what_a_finalizer_frees_was_live(void **state) {
    (void)state;
    if (MAL_STOPS_BY_NOTE) /* the phase changes by hand, beside the thread that runs callbacks */
        skip();
    uint64_t bytes = make_mortal();
    assert_true(bytes >= 1 << 20);
    collect();
    for (int i = 0; i < 20000 && !mal_load_acquire(&freed); i++)
        usleep(1000);
    assert_true(mal_load_acquire(&freed));
    uint64_t live_bytes = mal_gc_heap_counters().live_bytes;
    assert_true(live_bytes == 0 || live_bytes == bytes);
    assert_int_equal(mal_gc_heap_counters().scan_bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_may_run_out), /* first: no buffer is there yet */
        cmocka_unit_test(layouts_lead_to_their_fields),
        cmocka_unit_test(neighbours_keep_their_bits),
        cmocka_unit_test(types_of_one_class_mix),
        cmocka_unit_test(arrays_grow),
        cmocka_unit_test(the_end_of_an_array_belongs_to_it),
        cmocka_unit_test(an_object_without_elements_has_its_padding),
        cmocka_unit_test(every_element_is_led_through),
        cmocka_unit_test(neighbours_lead_to_each_other),
        cmocka_unit_test(many_threads_mark_what_one_does),
        cmocka_unit_test(budgets_are_kept),
        cmocka_unit_test(pages_are_scanned_again),
        cmocka_unit_test(long_ranges_are_for_all_workers),
        cmocka_unit_test(all_words_of_marked_objects_are_scanned_again),
        cmocka_unit_test(slots_that_are_taken_are_counted_once),
        cmocka_unit_test(the_oracle_names_what_is_not_marked),
        cmocka_unit_test(what_a_finalizer_frees_was_live), /* last: starts a thread */
    };
    return cmocka_run_group_tests(tests, gc_by_hand, NULL);
}
