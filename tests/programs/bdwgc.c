/* SPDX-License-Identifier: Apache-2.0
 *
 * A program written for Boehm's collector, built twice: against Boehm's own header and library, and
 * against Mallard's. It prints the same lines on both.
 */
#define GC_THREADS
#include <gc/gc.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NODES = 20000, ROUNDS = 30, FINALIZED = 200, LOOKED_AT = 1000, THREADS = 4 };

struct node {
    struct node *next;
    size_t number;
    char *name;
};

static struct node *list(size_t length) {
    struct node *head = NULL;
    for (size_t i = 0; i < length; i++) {
        struct node *node = GC_NEW(struct node);
        char text[32];
        snprintf(text, sizeof text, "node %zu", i);
        node->number = i;
        node->name = GC_STRDUP(text);
        node->next = head;
        head = node;
    }
    return head;
}

static int is_whole(const struct node *head, size_t length) {
    for (size_t i = length; i-- > 0; head = head->next) {
        char text[32];
        snprintf(text, sizeof text, "node %zu", i);
        if (!head || head->number != i || strcmp(head->name, text) != 0)
            return 0;
    }
    return head == NULL;
}

static void check(const char *what, int good) {
    printf("%s %s\n", good ? "ok  " : "FAIL", what);
}

static void check_lists(void) {
    struct node *kept = list(NODES);
    for (int i = 0; i < ROUNDS; i++)
        list(NODES);
    GC_gcollect();
    check("a list that is held outlives thirty that are not", is_whole(kept, NODES));
    check("collections were made", GC_get_gc_no() > 0);
    check("the heap is not as large as all that was allocated",
          GC_get_heap_size() < (size_t)100 << 20);
}

static void check_kinds(void) {
    char *zero = GC_MALLOC(1000);
    int sum = 0;
    for (int i = 0; i < 1000; i++)
        sum |= zero[i];
    check("memory comes zeroed", sum == 0);
    check("an inner pointer leads to its object",
          GC_base(zero + 500) == zero && GC_size(zero) >= 1000);
    strcpy(zero, "content");
    char *grown = GC_REALLOC(zero, 100000);
    check("realloc keeps the content", strcmp(grown, "content") == 0 && GC_size(grown) >= 100000);
    check("strndup cuts", strcmp(GC_STRNDUP("abcdef", 3), "abc") == 0);
    void *many = GC_malloc_many(48);
    size_t count = 0;
    for (void *object = many; object; object = GC_NEXT(object))
        count++;
    check("malloc_many gives a list", count >= 1);
    GC_FREE(grown);
    GC_FREE(NULL);
}

/* Objects without pointers do not share memory, however small they are. */
static void check_small(void) {
    static unsigned char *object[LOOKED_AT];
    size_t wrong = 0, bases = 0;
    for (int i = 0; i < LOOKED_AT; i++) {
        object[i] = GC_MALLOC_ATOMIC(1 + (size_t)i % 15);
        bases += GC_base(object[i]) == object[i] && GC_size(object[i]) > (size_t)i % 15;
        memset(object[i], i, 1 + (size_t)i % 15);
    }
    for (int i = 0; i < LOOKED_AT; i += 3)
        GC_FREE(object[i]);
    for (int i = 1; i < LOOKED_AT; i += 3)
        object[i] = GC_REALLOC(object[i], 100);
    for (int i = 0; i < LOOKED_AT; i++)
        for (int k = 0; i % 3 != 0 && k <= i % 15; k++)
            wrong += object[i][k] != (unsigned char)i;
    check("small objects have blocks of their own", bases == LOOKED_AT);
    check("and are freed and moved alone", wrong == 0);
}

/* What was freed by hand is no negative allocation. */
static void check_figures(void) {
    enum { LARGE = 32, LARGE_BYTES = 1 << 20 };
    static void *large[LARGE];
    for (int i = 0; i < LARGE; i++)
        large[i] = GC_MALLOC_ATOMIC(LARGE_BYTES);
    GC_gcollect();
    for (int i = 0; i < LARGE; i++)
        GC_FREE(large[i]);
    check("little was allocated since a collection", GC_get_bytes_since_gc() < LARGE * LARGE_BYTES);
}

/* A pointer behind the last byte, which is all that a loop may have left. */
static __attribute__((noinline)) char *text_end(size_t bytes) {
    char *text = GC_MALLOC_ATOMIC(bytes);
    memset(text, 'x', bytes);
    return text + bytes;
}

static void check_ends(void) {
    static char *end[LOOKED_AT];
    size_t wrong = 0;
    for (int i = 0; i < LOOKED_AT; i++)
        end[i] = text_end(16 * (1 + (size_t)i % 40));
    GC_gcollect();
    list(NODES);
    for (int i = 0; i < LOOKED_AT; i++)
        wrong += end[i][-1] != 'x' || GC_base(end[i]) == NULL;
    check("pointers behind the end hold what they belong to", wrong == 0);
}

/* The only pointer to the list lies in memory that is never collected, and that one only in
 * malloc's where the collector does not look. */
static void check_uncollectable(void) {
    struct node **outside = malloc(sizeof *outside);
    struct node *anchor = GC_MALLOC_UNCOLLECTABLE(sizeof *anchor);
    anchor->next = list(NODES);
    *outside = anchor;
    anchor = NULL;
    for (int i = 0; i < ROUNDS; i++)
        list(NODES);
    GC_gcollect();
    check("what uncollectable memory leads to stays", is_whole((*outside)->next, NODES));
    GC_FREE(*outside);
    free(outside);
}

static int finalized;

static void finalize(void *object, void *data) {
    finalized += object != NULL && data == &finalized;
}

static __attribute__((noinline)) void drop_finalized(void) {
    for (int i = 0; i < FINALIZED; i++)
        GC_register_finalizer(GC_MALLOC(64), finalize, &finalized, NULL, NULL);
}

static void check_finalizers(void) {
    drop_finalized();
    for (int i = 0; i < 20 && finalized < FINALIZED * 9 / 10; i++) {
        list(NODES);
        GC_gcollect();
        GC_invoke_finalizers();
    }
    check("finalizers ran for nearly all that was dropped", finalized >= FINALIZED * 9 / 10);
}

/* ---- finalizers in a ring ---- */

struct member {
    struct member *next;
    struct member *self; /* NULL: it does not know itself */
    size_t magic;
};

enum { MEMBER = 0x6d656d62, RING = 3 };

typedef void register_finalizer(void *object, GC_finalization_proc function, void *data,
                                GC_finalization_proc *ret_function, void **ret_data);

static size_t broken;

/* Its neighbours are whole, whoever was finalized before. */
static void finalize_member(void *object, void *ret_count) {
    const struct member *member = object;
    ++*(size_t *)ret_count;
    for (int i = 0; i < RING; i++, member = member->next)
        broken += member->magic != MEMBER;
}

static struct member *new_member(struct member *next, int knows_itself) {
    struct member *member = GC_NEW(struct member);
    *member = (struct member){next, knows_itself ? member : NULL, MEMBER};
    return member;
}

static __attribute__((noinline)) void drop_rings(register_finalizer *set, size_t *count) {
    for (int i = 0; i < FINALIZED; i++) {
        struct member *last = new_member(NULL, 0), *member = last;
        for (int k = 1; k < RING; k++)
            member = new_member(member, 0);
        last->next = member;
        for (int k = 0; k < RING; k++, member = member->next)
            set(member, finalize_member, count, NULL, NULL);
    }
}

/* Behind each a ring without finalizers. */
static __attribute__((noinline)) void drop_selves(register_finalizer *set, size_t *count) {
    for (int i = 0; i < FINALIZED; i++) {
        struct member *member = new_member(NULL, 1), *last = new_member(NULL, 0);
        member->next = last->next = new_member(last, 0);
        set(member, finalize_member, count, NULL, NULL);
    }
}

static int collect_until(const size_t *count, size_t wanted) {
    for (int i = 0; i < 20 && *count < wanted; i++) {
        list(NODES);
        GC_gcollect();
        GC_invoke_finalizers();
    }
    return *count >= wanted;
}

static void check_rings(void) {
    static size_t unordered, ordered, selves;
    drop_rings(GC_register_finalizer_no_order, &unordered);
    check("finalizers without an order run for nearly all of the rings that were dropped",
          collect_until(&unordered, RING * FINALIZED * 9 / 10));
    check("and find their neighbours whole", broken == 0);
    drop_rings(GC_register_finalizer, &ordered);
    check("with an order none runs", !collect_until(&ordered, 1));
    drop_selves(GC_register_finalizer_ignore_self, &selves);
    check("an object that leads to itself is finalized where that is ignored",
          collect_until(&selves, FINALIZED * 9 / 10));
}

static __attribute__((noinline)) void drop_reordered(register_finalizer *first,
                                                     register_finalizer *then, size_t *count) {
    for (int i = 0; i < FINALIZED; i++) {
        struct member *member = new_member(NULL, 0);
        member->next = new_member(member, 0);
        GC_finalization_proc before = NULL;
        first(member, finalize, NULL, NULL, NULL);
        then(member, finalize_member, count, &before, NULL);
        broken += before != finalize;
    }
}

static void check_reordering(void) {
    static size_t ordered, unordered;
    drop_reordered(GC_register_finalizer_no_order, GC_register_finalizer, &ordered);
    check("one that gets an order keeps it", !collect_until(&ordered, 1));
    drop_reordered(GC_register_finalizer, GC_register_finalizer_no_order, &unordered);
    check("and one that loses it is finalized in its ring",
          collect_until(&unordered, FINALIZED * 9 / 10) && broken == 0);
}

/* ---- looking at all objects ---- */

struct sight {
    size_t members, bytes;
};

static void see(void *object, size_t bytes, void *data) {
    struct sight *sight = data;
    const struct member *member = object;
    if (bytes < sizeof *member || member->magic != ~(size_t)MEMBER)
        return;
    sight->members++;
    sight->bytes += bytes;
}

static void *look_around(void *data) {
    GC_enumerate_reachable_objects_inner(see, data);
    return data;
}

static void check_enumeration(void) {
    struct member *kept = NULL;
    struct sight sight = {0, 0};
    for (int i = 0; i < LOOKED_AT; i++) {
        kept = new_member(kept, 0);
        kept->magic = ~(size_t)MEMBER;
        new_member(NULL, 0)->magic = ~(size_t)MEMBER;
    }
    GC_gcollect();
    GC_call_with_alloc_lock(look_around, &sight);
    check("all objects that are held can be looked at", sight.members >= LOOKED_AT);
    check("and nearly none of the others", sight.members < LOOKED_AT + LOOKED_AT / 10);
    check("with their sizes", sight.bytes / sizeof *kept >= sight.members);
    GC_reachable_here(kept);
}

/* ---- links that disappear ---- */

enum { LINKS = 500, REVEALS = 200000 };

static GC_word *links; /* disguised, in memory that is not scanned */

static __attribute__((noinline)) void link_nodes(size_t first, size_t count, struct node **kept) {
    for (size_t i = first; i < first + count; i++) {
        struct node *node = GC_NEW(struct node);
        node->number = i;
        links[i] = GC_HIDE_POINTER(node);
        GC_general_register_disappearing_link((void **)&links[i], node);
        if (kept)
            kept[i - first] = node;
    }
}

static size_t count_full(size_t first, size_t count) {
    size_t full = 0;
    for (size_t i = first; i < first + count; i++)
        full += links[i] != 0;
    return full;
}

static void check_links(void) {
    struct node **kept = GC_MALLOC(LINKS * sizeof *kept);
    links = GC_MALLOC_ATOMIC_UNCOLLECTABLE(3 * LINKS * sizeof *links);
    link_nodes(0, LINKS, kept);
    link_nodes(LINKS, LINKS, NULL);
    for (int i = 0; i < 5; i++) {
        list(NODES);
        GC_gcollect();
    }
    check("links to what is held stay", count_full(0, LINKS) == LINKS && kept[7]->number == 7);
    check("nearly all others have disappeared", count_full(LINKS, LINKS) < LINKS / 10);
    check("a link is known",
          GC_general_register_disappearing_link((void **)&links[0], kept[0]) == GC_DUPLICATE);
    check("it moves",
          GC_move_disappearing_link((void **)&links[0], (void **)&links[LINKS]) == GC_SUCCESS);
    check("and is not where it was", GC_unregister_disappearing_link((void **)&links[0]) == 0);
    check("but there", GC_unregister_disappearing_link((void **)&links[LINKS]) == 1);
}

static GC_word long_link, short_link;

static __attribute__((noinline)) void drop_linked(void) {
    for (int i = 0; i < FINALIZED; i++) {
        void *object = GC_MALLOC(64);
        GC_register_finalizer(object, finalize, &finalized, NULL, NULL);
        if (i > 0)
            continue;
        long_link = short_link = GC_HIDE_POINTER(object);
        GC_register_long_link((void **)&long_link, object);
        GC_general_register_disappearing_link((void **)&short_link, object);
    }
}

static void check_long_links(void) {
    int in_order = 1;
    finalized = 0;
    drop_linked();
    for (int i = 0; i < 20 && long_link != 0; i++) {
        list(NODES);
        GC_gcollect();
        in_order &= short_link == 0 || long_link != 0;
        GC_invoke_finalizers();
    }
    check("a long link disappears no earlier than a short one", in_order);
    GC_unregister_long_link((void **)&long_link);
}

struct look {
    size_t at;
    struct node *node;
};

static void *reveal(void *data) {
    struct look *look = data;
    look->node = links[look->at] ? GC_REVEAL_POINTER(links[look->at]) : NULL;
    return look->node;
}

/* Each thread has its own part of the table, and holds a node for moments only. */
static void *reveal_often(void *argument) {
    size_t *ret_wrong = argument, share = 3 * LINKS / THREADS, first = *ret_wrong * share;
    unsigned random = (unsigned)first + 1;
    *ret_wrong = 0;
    for (int i = 0; i < REVEALS; i++) {
        struct look look = {first + (size_t)rand_r(&random) % share, NULL};
        GC_call_with_alloc_lock(reveal, &look);
        if (!look.node)
            link_nodes(look.at, 1, NULL);
        else if (look.node->number != look.at || look.node->name)
            ++*ret_wrong;
        if (i % 16 == 0)
            list(8);
    }
    return NULL;
}

static void check_links_of_threads(void) {
    pthread_t thread[THREADS];
    size_t wrong[THREADS], all = 0;
    for (size_t i = 0; i < 3 * LINKS; i++) {
        GC_unregister_disappearing_link((void **)&links[i]);
        links[i] = 0;
    }
    for (size_t i = 0; i < THREADS; i++) {
        wrong[i] = i;
        pthread_create(&thread[i], NULL, reveal_often, &wrong[i]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        all += wrong[i];
    }
    check("what a link leads to is whole", all == 0);
}

static void check_new_kinds(void) {
    int scanned = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    int atomic = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 0, 1);
    struct node *kept = GC_generic_malloc(sizeof *kept, scanned);
    char *text = GC_generic_malloc(64, atomic);
    void *many = NULL;
    kept->next = list(NODES);
    strcpy(text, "text");
    GC_generic_malloc_many(48, scanned, &many);
    for (int i = 0; i < 5; i++)
        list(NODES);
    GC_gcollect();
    check("an object of a kind of one's own holds others", is_whole(kept->next, NODES));
    check("and one that is not scanned is there", strcmp(text, "text") == 0 && many != NULL);
}

/* ---- bitmaps ---- */

struct typed {
    struct node *held;
    struct node *weak; /* a plain pointer, which the bitmap leaves out */
};

static GC_descr typed_descriptor(void) {
    GC_word bitmap[GC_BITMAP_SIZE(struct typed)] = {0};
    GC_set_bit(bitmap, GC_WORD_OFFSET(struct typed, held));
    return GC_make_descriptor(bitmap, GC_WORD_LEN(struct typed));
}

static __attribute__((noinline)) void fill_typed(struct typed *typed, size_t count) {
    for (size_t i = 0; i < count; i++) {
        typed[i].held = GC_NEW(struct node);
        typed[i].held->number = i;
        typed[i].weak = GC_NEW(struct node);
        GC_general_register_disappearing_link((void **)&typed[i].weak, typed[i].weak);
    }
}

static size_t count_weak(const struct typed *typed, size_t count, size_t *ret_wrong) {
    size_t weak = 0;
    *ret_wrong = 0;
    for (size_t i = 0; i < count; i++) {
        weak += typed[i].weak != NULL;
        *ret_wrong += typed[i].held->number != i;
    }
    return weak;
}

static void check_descriptors(void) {
    struct typed *many = GC_calloc_explicitly_typed(LINKS, sizeof *many, typed_descriptor());
    struct typed *one = GC_malloc_explicitly_typed(sizeof *one + 1000, typed_descriptor());
    size_t wrong;
    fill_typed(many, LINKS);
    fill_typed(one, 1);
    for (int i = 0; i < 5; i++) {
        list(NODES);
        GC_gcollect();
    }
    check("words that a bitmap leaves out hold nothing",
          count_weak(many, LINKS, &wrong) < LINKS / 10);
    check("and the others do", wrong == 0 && one->held->number == 0);
    check("one descriptor for equal bitmaps", typed_descriptor() == typed_descriptor());
}

/* ---- mark procedures ---- */

enum { MAGIC = 0x6d61726b, ENVIRONMENT = 4711, CHAIN = 1000 };

struct marked {
    struct node *weak; /* passed over; the first word of what is free may be anything */
    size_t magic;
    struct node *held;
    struct node **outside; /* in malloc's memory */
    struct marked **next;  /* through an object that is scanned */
};

static GC_word seen_environment;
static size_t seen_times;

static struct GC_ms_entry *mark_marked(GC_word *object, struct GC_ms_entry *top,
                                       struct GC_ms_entry *limit, GC_word environment) {
    struct marked *marked = (struct marked *)object;
    if (marked->magic != MAGIC)
        return top;
    seen_environment = environment;
    seen_times++;
    top = GC_MARK_AND_PUSH(marked->held, top, limit, (void **)&marked->held);
    if (marked->outside)
        top = GC_MARK_AND_PUSH(*marked->outside, top, limit, (void **)marked->outside);
    return GC_MARK_AND_PUSH(marked->next, top, limit, (void **)&marked->next);
}

struct new_kind {
    unsigned procedure, kind;
};

static void *make_kind(void *data) {
    struct new_kind *made = data;
    made->procedure = GC_new_proc_inner(mark_marked);
    made->kind = GC_new_kind_inner(GC_new_free_list_inner(),
                                   GC_MAKE_PROC(made->procedure, (GC_word)ENVIRONMENT), 0, 1);
    return NULL;
}

static struct marked *new_marked(unsigned kind, struct marked *next) {
    struct marked *marked = GC_generic_malloc(sizeof *marked, (int)kind);
    marked->held = GC_NEW(struct node);
    marked->held->number = MAGIC;
    marked->next = GC_MALLOC(sizeof *marked->next);
    *marked->next = next;
    marked->magic = MAGIC;
    return marked;
}

static __attribute__((noinline)) void drop_weak(struct marked **many, unsigned kind) {
    for (int i = 0; i < LINKS; i++) {
        many[i] = new_marked(kind, NULL);
        many[i]->weak = GC_NEW(struct node);
        GC_general_register_disappearing_link((void **)&many[i]->weak, many[i]->weak);
    }
}

static struct marked *chain(unsigned kind) {
    struct marked *head = NULL;
    for (int i = 0; i < CHAIN; i++)
        head = new_marked(kind, head);
    return head;
}

static int is_chain_whole(const struct marked *marked) {
    int length = 0;
    for (; marked; marked = *marked->next)
        length += marked->magic == MAGIC && marked->held->number == MAGIC;
    return length == CHAIN;
}

static void check_mark_procedures(void) {
    struct new_kind other = {0}, made = {GC_new_proc(mark_marked), 0};
    made.kind =
        GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(made.procedure, (GC_word)ENVIRONMENT), 0, 1);
    GC_call_with_alloc_lock(make_kind, &other);
    struct marked **many = GC_MALLOC(LINKS * sizeof *many), *kept = new_marked(made.kind, NULL);
    struct marked *chained = chain(other.kind);
    kept->outside = malloc(sizeof *kept->outside);
    *kept->outside = list(NODES);
    drop_weak(many, made.kind);
    int weak = 0;
    for (int i = 0; i < 5; i++) {
        list(NODES);
        GC_gcollect();
    }
    for (int i = 0; i < LINKS; i++)
        weak += many[i]->weak != NULL;
    check("a mark procedure is called, with its environment",
          seen_times >= LINKS && seen_environment == ENVIRONMENT);
    check("what it passes over is not held", weak < LINKS / 10);
    check("what it marks is, outside the heap too",
          is_whole(*kept->outside, NODES) && kept->held->number == MAGIC);
    check("procedures find objects with procedures", is_chain_whole(chained));
    free(kept->outside);
    kept->outside = NULL;
}

/* What dies with a finalizer is whole when that runs. */
static size_t finalized_whole;

static void finalize_marked(void *object, void *data) {
    (void)data;
    const struct marked *marked = object;
    finalized_whole += marked->magic == MAGIC && marked->held->number == MAGIC;
}

static __attribute__((noinline)) void drop_marked(unsigned kind) {
    for (int i = 0; i < FINALIZED; i++)
        GC_register_finalizer(new_marked(kind, NULL), finalize_marked, NULL, NULL, NULL);
}

static void check_marked_finalizers(void) {
    struct new_kind made;
    GC_call_with_alloc_lock(make_kind, &made);
    drop_marked(made.kind);
    for (int i = 0; i < 20 && finalized_whole < FINALIZED * 9 / 10; i++) {
        list(NODES);
        GC_gcollect();
        GC_invoke_finalizers();
    }
    check("an object with a mark procedure is finalized whole",
          finalized_whole >= FINALIZED * 9 / 10);
}

/* ---- pushed roots ---- */

struct outside {
    struct node *all, *conditional;
    char *single;
};

static struct outside *outside; /* in malloc's memory, and disguised */
static GC_push_other_roots_proc pushed_before;

static void push_outside(void) {
    struct outside *real = (struct outside *)GC_REVEAL_POINTER((GC_word)outside);
    GC_push_all(&real->all, &real->all + 1);
    GC_push_conditional(&real->conditional, &real->conditional + 1, 1);
    GC_set_mark_bit(real->single);
    pushed_before();
}

static __attribute__((noinline)) void fill_outside(struct outside *real) {
    real->all = list(NODES);
    real->conditional = list(NODES);
    real->single = GC_STRDUP("a string");
}

static void check_pushed_roots(void) {
    struct outside *real = malloc(sizeof *real);
    outside = (struct outside *)GC_HIDE_POINTER(real);
    memset(real, 0, sizeof *real);
    pushed_before = GC_get_push_other_roots();
    GC_disable();
    fill_outside(real);
    GC_set_push_other_roots(push_outside);
    GC_enable();
    for (int i = 0; i < ROUNDS; i++)
        list(NODES);
    GC_gcollect();
    check("the procedure is the one that was set", GC_get_push_other_roots() == push_outside);
    check("what it pushes is held", is_whole(real->all, NODES));
    check("on a condition too", is_whole(real->conditional, NODES));
    check("and what it marks", strcmp(real->single, "a string") == 0);
    GC_set_push_other_roots(pushed_before);
    free(real);
}

static int started;

static void count_start(void) {
    __atomic_add_fetch(&started, 1, __ATOMIC_RELAXED);
}

static void check_start_callback(void) {
    GC_set_start_callback(count_start);
    for (int i = 0; i < 20 * ROUNDS && started < 2; i++)
        list(NODES);
    check("the callback is told of collections that begin by themselves", started >= 2);
    GC_set_start_callback(NULL);
}

/* ---- fork ---- */

static int forking = 1;

static void *nothing(void *data) {
    return data;
}

/* As ECL makes its threads. */
static void *born_deaf(void *flag) {
    while (!__atomic_load_n((int *)flag, __ATOMIC_ACQUIRE))
        ;
    return flag;
}

static void check_signal_mask(void) {
    sigset_t all, before;
    pthread_t thread;
    int flag = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_create(&thread, NULL, born_deaf, &flag);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    GC_gcollect();
    __atomic_store_n(&flag, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    check("a thread that blocks all signals can be stopped", 1);
}

static void *use_locks(void *unused) {
    while (__atomic_load_n(&forking, __ATOMIC_RELAXED)) {
        GC_call_with_alloc_lock(nothing, NULL);
        GC_FREE(GC_MALLOC_UNCOLLECTABLE(64));
        GC_register_finalizer(GC_MALLOC(64), finalize, NULL, NULL, NULL);
    }
    return unused;
}

static void be_child(const struct node *kept) {
    alarm(60);
    GC_call_with_alloc_lock(nothing, NULL);
    GC_FREE(GC_MALLOC_UNCOLLECTABLE(64));
    GC_register_finalizer(GC_MALLOC(64), finalize, NULL, NULL, NULL);
    for (int i = 0; i < 5; i++)
        list(NODES);
    GC_gcollect();
    _exit(is_whole(kept, NODES) ? 7 : 1);
}

static void check_fork(void) {
    struct node *kept = list(NODES);
    pthread_t thread;
    int good = 0;
    pthread_create(&thread, NULL, use_locks, NULL);
    for (int i = 0; i < 10; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            be_child(kept);
        waitpid(child, &status, 0);
        good += WIFEXITED(status) && WEXITSTATUS(status) == 7;
    }
    __atomic_store_n(&forking, 0, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    check("forked children collect, whatever the other thread was doing", good == 10);
}

static void *thread_body(void *argument) {
    struct node *kept = list(NODES);
    for (int i = 0; i < 5; i++)
        list(NODES);
    *(int *)argument = is_whole(kept, NODES);
    return argument;
}

static void check_threads(void) {
    pthread_t thread[THREADS];
    int whole[THREADS] = {0}, all = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, thread_body, &whole[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        all &= whole[i];
    }
    check("lists on the stacks of threads stay", all);
}

static void check_disabling(void) {
    GC_disable();
    GC_word before = GC_get_gc_no();
    for (int i = 0; i < ROUNDS; i++)
        list(NODES);
    check("nothing is collected while collection is disabled",
          GC_get_gc_no() == before && GC_is_disabled());
    GC_enable();
    GC_gcollect();
    check("and again afterwards", GC_get_gc_no() > before);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    GC_set_handle_fork(1);
    GC_INIT();
    GC_set_warn_proc(GC_ignore_warn_proc); /* of rings, Boehm's does */
    check_lists();
    check_kinds();
    check_small();
    check_figures();
    check_ends();
    check_uncollectable();
    check_finalizers();
    check_rings();
    check_reordering();
    check_enumeration();
    check_links();
    check_long_links();
    check_links_of_threads();
    check_new_kinds();
    check_descriptors();
    check_mark_procedures();
    check_marked_finalizers();
    check_pushed_roots();
    check_start_callback();
    check_threads();
    check_disabling();
    check_signal_mask();
    check_fork();
    return 0;
}
