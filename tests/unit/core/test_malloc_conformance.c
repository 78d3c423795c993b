/* SPDX-License-Identifier: Apache-2.0
 *
 * The malloc family as C11, POSIX and glibc document it, through the prefixed names.
 */
#include "base/bits.h"
#include "front/init.h"
#include "mallard/mallard.h"
#include "meta/classes.h"
#include "meta/freed.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"
#include "support/seeded.h"

void *mallard_memalign(size_t alignment, size_t bytes);
void *mallard_valloc(size_t bytes);
void *mallard_pvalloc(size_t bytes);
void mallard_cfree(void *pointer);
void mallard_free_sized(void *pointer, size_t bytes);
void mallard_free_aligned_sized(void *pointer, size_t alignment, size_t bytes);

/* Kept from the optimiser, which knows what malloc may return. */
static size_t hidden(size_t value) {
    __asm__ volatile("" : "+r"(value));
    return value;
}

#define assert_enomem(call)                                                                        \
    do {                                                                                           \
        errno = 0;                                                                                 \
        assert_null(call);                                                                         \
        assert_int_equal(errno, ENOMEM);                                                           \
    } while (0)

static void objects_of_no_size_are_distinct(void **state) {
    (void)state;
    void *objects[100];
    for (int i = 0; i < 100; i++) {
        objects[i] = i % 2 ? mallard_malloc(0) : mallard_calloc(0, hidden(5));
        assert_non_null(objects[i]);
        for (int before = 0; before < i; before++)
            assert_ptr_not_equal(objects[i], objects[before]);
    }
    for (int i = 0; i < 100; i++)
        mallard_free(objects[i]);
}

static void sizes_beyond_ptrdiff_max_are_refused(void **state) {
    (void)state;
    static const size_t sizes[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 4096};
    for (size_t i = 0; i < 3; i++) {
        size_t bytes = hidden(sizes[i]);
        void *slot = (void *)1;
        assert_enomem(mallard_malloc(bytes));
        assert_enomem(mallard_calloc(1, bytes));
        assert_enomem(mallard_realloc(NULL, bytes));
        assert_enomem(mallard_aligned_alloc(64, bytes));
        assert_enomem(mallard_memalign(64, bytes));
        assert_enomem(mallard_pvalloc(bytes));
        assert_enomem(mallard_valloc(bytes));
        errno = 4711;
        assert_int_equal(mallard_posix_memalign(&slot, 64, bytes), ENOMEM);
        assert_int_equal(errno, 4711);
        assert_ptr_equal(slot, (void *)1);
    }
    assert_enomem(mallard_malloc(hidden(PTRDIFF_MAX)));
    assert_enomem(mallard_malloc(hidden((size_t)1 << 50)));
}

static void products_that_overflow_are_refused(void **state) {
    (void)state;
    size_t half = (size_t)1 << 32;
    assert_enomem(mallard_calloc(hidden(half), half));
    assert_enomem(mallard_calloc(hidden(SIZE_MAX), 2));
    assert_enomem(mallard_reallocarray(NULL, hidden(half), half));
    char *block = mallard_malloc(10);
    strcpy(block, "precious");
    assert_enomem(mallard_reallocarray(block, hidden(half), half));
    assert_string_equal(block, "precious");
    assert_enomem(mallard_realloc(block, hidden(SIZE_MAX)));
    assert_string_equal(block, "precious");
    block = mallard_reallocarray(block, 1000, 3);
    assert_string_equal(block, "precious");
    mallard_free(block);
}

/* Nothing of it may be taken for a size that wrapped around. */
static void refused_resizing_changes_nothing(void **state) {
    (void)state;
    static const size_t sizes[] = {10, 40000, 300000, 9000000};
    static const size_t wanted[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX,    SIZE_MAX - 4095,
                                    SIZE_MAX - 8192,         PTRDIFF_MAX, (size_t)1 << 60};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *block = mallard_malloc(sizes[i]);
        size_t usable = mallard_malloc_usable_size(block);
        block[0] = block[sizes[i] - 1] = 'x';
        for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++) {
            assert_enomem(mallard_realloc(block, hidden(wanted[k])));
            assert_int_equal(mallard_malloc_usable_size(block), usable);
            assert_true(block[0] == 'x' && block[sizes[i] - 1] == 'x');
        }
        mallard_free(block);
    }
}

static void assert_zero(const char *bytes, size_t count) {
    if (count > 0)
        assert_true(bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

/* Memory that was dirty before, of every class and above. */
static void calloc_gives_zeroes(void **state) {
    (void)state;
    for (size_t bytes = 1; bytes <= (4u << 20); bytes += bytes / 3 + 1)
        for (int round = 0; round < 3; round++) {
            char *dirty = mallard_malloc(bytes);
            memset(dirty, 0xff, mallard_malloc_usable_size(dirty));
            mallard_free(dirty);
            char *clean = mallard_calloc(1, bytes);
            assert_zero(clean, bytes);
            memset(clean, 0xff, mallard_malloc_usable_size(clean));
            mallard_free(clean);
        }
}

static void every_object_is_aligned_to_16_and_writable(void **state) {
    (void)state;
    for (size_t bytes = 0; bytes <= 300000; bytes += bytes < 2100 ? 1 : 173) {
        char *object = mallard_malloc(bytes);
        assert_int_equal((uintptr_t)object % 16, 0);
        size_t usable = mallard_malloc_usable_size(object);
        assert_true(usable >= bytes);
        memset(object, 0x5a, usable);
        mallard_free(object);
    }
    assert_int_equal(mallard_malloc_usable_size(NULL), 0);
}

static void fill(unsigned char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 255);
}

static void assert_filled(const unsigned char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != (unsigned char)(i * 7 + i / 255))
            fail_msg("byte %zu of %zu was lost", i, count);
}

static void assert_resize_keeps(size_t from, size_t to) {
    unsigned char *block = mallard_malloc(from);
    fill(block, from);
    block = mallard_realloc(block, to);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 16, 0);
    assert_true(mallard_malloc_usable_size(block) >= to);
    assert_filled(block, from < to ? from : to);
    mallard_free(block);
}

static void realloc_keeps_the_content_over_every_border(void **state) {
    (void)state;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        size_t size = mal_class[class].size_bytes;
        assert_resize_keeps(size, size + 1);
        assert_resize_keeps(size + 1, size);
        assert_resize_keeps(size - 1, 3 * size);
        assert_resize_keeps(3 * size, size - 1);
        assert_resize_keeps(size, 600000);
        assert_resize_keeps(600000, size);
    }
}

/* An object that moves into a smaller one must not take its neighbours' places. Every other one of
 * a class's is free: the new one comes to lie between two. */
static void a_smaller_copy_stays_within_its_bounds(void **state) {
    (void)state;
    enum { OBJECTS = 400 };
    unsigned char *object[OBJECTS];
    for (size_t from = 400; from <= 3000000; from *= 3) {
        size_t to = mal_min(from / 4, 20000);
        size_t usable = 0;
        for (int i = 0; i < OBJECTS; i++) {
            object[i] = mallard_malloc(to);
            usable = mallard_malloc_usable_size(object[i]);
            fill(object[i], usable);
        }
        for (int i = 0; i < OBJECTS; i += 2)
            mallard_free(object[i]);
        for (int i = 0; i < OBJECTS; i += 2) {
            unsigned char *large = mallard_malloc(from);
            memset(large, 0xee, from);
            object[i] = mallard_realloc(large, to);
        }
        for (int i = 0; i < OBJECTS; i++) {
            if (i % 2)
                assert_filled(object[i], usable);
            mallard_free(object[i]);
        }
    }
}

/* What is no longer wanted is given back; only where that is next to nothing it stays. */
static void shrinking_gives_back(void **state) {
    (void)state;
    for (size_t from = 256; from <= (8u << 20); from *= 2)
        for (size_t to = 1; to < from / 2; to *= 4) {
            void *block = mallard_realloc(mallard_malloc(from), to);
            assert_true(mallard_malloc_usable_size(block) <= mal_max(2 * to, 64));
            mallard_free(block);
        }
    void *small = mallard_malloc(64);
    assert_ptr_equal(mallard_realloc(small, 1), small);
    void *half = mallard_malloc(4096);
    half = mallard_realloc(half, mallard_malloc_usable_size(half));
    assert_ptr_equal(mallard_realloc(half, 2048), half);
    mallard_free(small);
    mallard_free(half);
}

/* Whoever had to move a large object moves it with room to grow. */
static void moved_large_objects_have_room(void **state) {
    (void)state;
    if (is_emulated()) /* the emulator takes what was moved away for unmapped */
        skip();
    enum { OBJECTS = 8 };
    void *object[OBJECTS];
    for (int i = 0; i < OBJECTS; i++)
        object[i] = mallard_malloc(1 << 20);
    unsigned moves = 0;
    for (int i = 0; i < OBJECTS; i++) {
        void *grown = mallard_realloc(object[i], 2 << 20);
        assert_non_null(grown);
        if (grown != object[i])
            assert_true(mallard_malloc_usable_size(grown) >= (2 << 20) + (2 << 20) / 8);
        moves += grown != object[i];
        object[i] = grown;
    }
    for (int i = 0; i < OBJECTS; i++)
        mallard_free(object[i]);
    assert_true(moves > 0);
}

static void realloc_keeps_the_content_at_random(void **state) {
    (void)state;
    uint64_t random = seeded_start(18);
    unsigned char *block = NULL;
    size_t bytes = 0;
    for (int step = 0; step < 1000; step++) {
        size_t wanted = 1 + seeded_size(&random, 20);
        block = mallard_realloc(block, wanted);
        assert_seeded(block);
        assert_filled(block, bytes < wanted ? bytes : wanted);
        fill(block, wanted);
        bytes = wanted;
    }
    mallard_free(block);
}

/* A block that grows in small steps must not be copied each time. */
static void growth_step_by_step_moves_rarely(void **state) {
    (void)state;
    unsigned moves = 0;
    char *block = NULL;
    for (size_t bytes = 4096; bytes <= (64u << 20); bytes += 64 << 10) {
        char *grown = mallard_realloc(block, bytes);
        assert_non_null(grown);
        moves += grown != block;
        block = grown;
    }
    mallard_free(block);
    assert_true(moves < 200);
}

static void realloc_is_malloc_and_free_at_its_ends(void **state) {
    (void)state;
    struct mallard_memstats before = {.size = sizeof before}, after = before;
    assert_int_equal(mallard_read_memstats(&before), 0);
    void *block = mallard_realloc(NULL, 100);
    assert_non_null(block);
    assert_null(mallard_realloc(block, hidden(0)));
    void *zero = mallard_realloc(NULL, 0);
    assert_non_null(zero);
    mallard_free(zero);
    assert_int_equal(mallard_read_memstats(&after), 0);
    assert_int_equal(after.heap_objects, before.heap_objects);
    assert_int_equal(after.mallocs, before.mallocs + 2);
}

/* Where there is nothing to fill, or no address, the public functions say so. */
static void public_functions_check_their_arguments(void **state) {
    (void)state;
    struct mallard_memstats none = {.size = 0};
    assert_int_equal(mallard_read_memstats(NULL), -EINVAL);
    assert_int_equal(mallard_read_memstats(&none), -EINVAL);
    assert_int_equal(mallard_http_listen(NULL), -EINVAL);
    assert_int_equal(mallard_http_stop(), -ENOENT);
}

static void check_aligned(void *object, size_t alignment, size_t bytes) {
    assert_non_null(object);
    assert_int_equal((uintptr_t)object % alignment, 0);
    assert_true(mallard_malloc_usable_size(object) >= bytes);
    memset(object, 1, mallard_malloc_usable_size(object));
}

static void alignments_from_1_to_1_mib_are_honoured(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 17, 100, 4095, 4097, 9000, 70000, 300000, 2000000};
    for (size_t alignment = 1; alignment <= (1u << 20); alignment *= 2)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *objects[3] = {mallard_aligned_alloc(alignment, sizes[i]),
                                mallard_memalign(alignment, sizes[i]), NULL};
            int result = mallard_posix_memalign(&objects[2], alignment, sizes[i]);
            assert_int_equal(result, alignment < sizeof(void *) ? EINVAL : 0);
            for (int way = 0; way < (result ? 2 : 3); way++)
                check_aligned(objects[way], alignment, sizes[i]);
            mallard_free(objects[0]);
            mallard_free_aligned_sized(objects[1], alignment, sizes[i]);
            mallard_free(objects[2]);
        }
}

static void aligned_objects_are_of_the_class_that_fits(void **state) {
    (void)state;
    for (size_t alignment = 32; alignment <= MAL_PAGE_BYTES; alignment *= 2)
        for (size_t bytes = 0; bytes <= MAL_SMALL_MAX_BYTES; bytes += 1 + bytes / 50) {
            void *object = mallard_aligned_alloc(alignment, bytes);
            uint32_t class = mal_class_for_aligned(bytes, alignment);
            check_aligned(object, alignment, bytes);
            assert_int_equal(mallard_malloc_usable_size(object), mal_class[class].size_bytes);
            mallard_free(object);
        }
}

static void bad_alignments_are_refused(void **state) {
    (void)state;
    static const size_t bad[] = {0, 3, 24, 100, SIZE_MAX};
    void *slot = (void *)1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        assert_int_equal(mallard_posix_memalign(&slot, hidden(bad[i]), 10), EINVAL);
        assert_int_equal(errno, 0);
        assert_null(mallard_aligned_alloc(hidden(bad[i]), 10));
        assert_int_equal(errno, EINVAL);
    }
    assert_ptr_equal(slot, (void *)1);
    assert_int_equal(mallard_posix_memalign(&slot, 2, 10), EINVAL);
}

/* glibc rounds up what memalign is asked for. */
static void memalign_rounds_odd_alignments_up(void **state) {
    (void)state;
    void *object = mallard_memalign(hidden(100), 10);
    check_aligned(object, 128, 10);
    mallard_free(object);
    errno = 0;
    assert_null(mallard_memalign(hidden(SIZE_MAX), 10));
    assert_int_equal(errno, EINVAL);
    assert_enomem(mallard_memalign(hidden((size_t)PTRDIFF_MAX + 1), 10)); /* a power of two */
}

static void pages_are_pages(void **state) {
    (void)state;
    size_t page = (size_t)getpagesize();
    void *one = mallard_valloc(1), *whole = mallard_pvalloc(1), *none = mallard_pvalloc(0);
    check_aligned(one, page, 1);
    check_aligned(whole, page, page);
    check_aligned(none, page, page);
    mallard_free(one);
    mallard_cfree(whole);
    mallard_free(none);
}

static void aligned_objects_can_be_resized(void **state) {
    (void)state;
    unsigned char *block = mallard_aligned_alloc(4096, 5000);
    fill(block, 5000);
    block = mallard_realloc(block, 500000);
    assert_filled(block, 5000);
    mallard_free(block);
}

static void free_keeps_errno(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 1000, 40000, 300000, 5000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *object = mallard_malloc(sizes[i]);
        memset(object, 1, sizes[i]);
        errno = 4711;
        mallard_free(object);
        assert_int_equal(errno, 4711);
    }
    mallard_free(NULL);
    mallard_free_sized(NULL, 0);
    assert_int_equal(errno, 4711);
}

static void free_as_aligned(void *object) {
    mallard_free_aligned_sized(object, 16, 10);
}

static void free_as_sized(void *object) {
    mallard_free_sized(object, 10);
}

static void every_name_of_free_frees(void **state) {
    (void)state;
    static void (*const ways[])(void *) = {mallard_free, mallard_cfree, free_as_sized,
                                           free_as_aligned};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct mallard_memstats before = {.size = sizeof before}, after = before;
        void *object = mallard_malloc(10);
        assert_int_equal(mallard_read_memstats(&before), 0);
        ways[i](object);
        assert_int_equal(mallard_read_memstats(&after), 0);
        assert_int_equal(after.frees, before.frees + 1);
    }
}

/* The key is drawn for each process, of words that no object in use begins with. */
static void the_key_of_the_freed_is_random(void **state) {
    (void)state;
    uint64_t key = mal_freed_key;
    assert_true(key != (1ull << 62 | 0x81));
    for (uint64_t random = 0; random < 64; random++) {
        mal_freed_init(random == 63 ? UINT64_MAX : mal_mix(random));
        assert_int_equal(mal_freed_key >> 62, 1);
        assert_int_equal(mal_freed_key & 0xc1, 0x81);
    }
    mal_freed_key = key;
}

/* By whatever way it is freed: plain, one that begins like a freed one, and a sample, with a shelf
 * that has room and one that has not. */
static void whatever_is_freed_is_marked(void **state) {
    (void)state;
    enum { OBJECTS = 3000 };
    static void *object[OBJECTS];
    for (int way = 0; way < 3; way++) {
        mallard_set_mem_profile_rate(way == 2 ? 1 : 0);
        for (int i = 0; i < OBJECTS; i++) {
            object[i] = mallard_malloc(1000);
            memset(object[i], way == 1 ? (uint8_t)mal_freed_key : 0, 1000);
        }
        for (int i = 0; i < OBJECTS; i++) {
            assert_false(mal_is_freed(object[i]));
            mallard_free(object[i]);
            assert_true(mal_is_freed(object[i]));
        }
    }
    mallard_set_mem_profile_rate(524288);
}

/* A large object that is resized stays where it is, if it can. */
static void large_objects_are_resized_in_place(void **state) {
    (void)state;
    char *block = mallard_malloc(8 << 20);
    assert_ptr_equal(mallard_realloc(block, 3 << 20), block);
    size_t usable = mallard_malloc_usable_size(block);
    assert_true(usable >= 3 << 20 && usable < 4 << 20);
    assert_ptr_equal(mallard_realloc(block, 7 << 20), block);
    assert_true(mallard_malloc_usable_size(block) >= 7 << 20);
    mallard_free(block);
}

static void success_keeps_errno(void **state) {
    (void)state;
    errno = 4711;
    for (size_t bytes = 1; bytes < (8u << 20); bytes *= 2) {
        void *object = mallard_realloc(mallard_calloc(1, bytes), 2 * bytes);
        assert_int_equal(mallard_posix_memalign(&(void *){NULL}, 3, 1), EINVAL);
        mallard_free(object);
    }
    assert_int_equal(errno, 4711);
}

static void huge_objects_work(void **state) {
    (void)state;
    size_t bytes = (size_t)3 << 30;
    char *object = mallard_malloc(bytes);
    if (!object) /* an address-space limit: then the refusal is what counts */
        return;
    object[0] = object[bytes - 1] = object[bytes / 2] = 1;
    assert_true(mallard_malloc_usable_size(object) >= bytes);
    object = mallard_realloc(object, 1000);
    assert_int_equal(object[0], 1);
    mallard_free(object);
}

/* ---- threads ---- */

struct parcel {
    unsigned char *block[200];
    size_t bytes[200];
    uint64_t random;
};

static void *pack(void *argument) {
    struct parcel *parcel = argument;
    for (int i = 0; i < 200; i++) {
        parcel->bytes[i] = 1 + seeded_size(&parcel->random, 19);
        parcel->block[i] = mallard_malloc(parcel->bytes[i]);
        fill(parcel->block[i], parcel->bytes[i]);
    }
    return NULL;
}

static void *unpack(void *argument) {
    struct parcel *parcel = argument;
    for (int i = 0; i < 200; i++) {
        assert_filled(parcel->block[i], parcel->bytes[i]);
        mallard_free(parcel->block[i]);
    }
    return NULL;
}

static void run_in_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* What a thread allocated outlives it and may be freed anywhere. */
static void objects_outlive_their_threads(void **state) {
    (void)state;
    static struct parcel parcel;
    parcel.random = seeded_start(19);
    for (int round = 0; round < 50; round++) {
        run_in_thread(pack, &parcel);
        if (round % 2)
            run_in_thread(unpack, &parcel);
        else
            unpack(&parcel);
    }
}

/* A sanitizer takes its own thread state down in the last round of destructors. */
#ifdef MAL_SANITIZED
#define LATE_ROUNDS 2
#else
#define LATE_ROUNDS 4
#endif

static pthread_key_t late_key;

/* Destructors run in an order nobody chooses: some after the allocator's own. */
static void allocate_late(void *value) {
    uintptr_t rounds = (uintptr_t)value;
    mallard_free(mallard_malloc(100));
    mallard_free(mallard_malloc(500000));
    if (rounds > 1)
        pthread_setspecific(late_key, (void *)(rounds - 1));
}

static void *leave_late(void *unused) {
    (void)unused;
    pthread_setspecific(late_key, (void *)LATE_ROUNDS);
    mallard_free(mallard_malloc(100));
    return NULL;
}

static void destructors_of_threads_may_allocate(void **state) {
    (void)state;
    assert_int_equal(pthread_key_create(&late_key, allocate_late), 0);
    for (int i = 0; i < 100; i++)
        run_in_thread(leave_late, NULL);
    mallard_set_mem_profile_rate(1);
    for (int i = 0; i < 100; i++)
        run_in_thread(leave_late, NULL);
    mallard_set_mem_profile_rate(524288);
    pthread_key_delete(late_key);
}

static void the_heap_works_after_many_threads_have_gone(void **state) {
    (void)state;
    static struct parcel parcel;
    parcel.random = seeded_start(20);
    for (int i = 0; i < 60; i++) {
        run_in_thread(pack, &parcel);
        run_in_thread(unpack, &parcel);
    }
    for (size_t bytes = 1; bytes < 100000; bytes += 997)
        assert_resize_keeps(bytes, bytes * 2);
}

/* Before anything of ours, as in a program that is linked statically. */
static bool was_first;
static int early_errno;
static void *early_object;

__attribute__((constructor(101))) static void allocate_early(void) {
    was_first = !mal_is_initialised();
    errno = 4711;
    early_object = mallard_aligned_alloc(4096, hidden(0));
    early_errno = errno;
}

static void the_first_request_may_be_for_nothing_aligned(void **state) {
    (void)state;
    assert_true(was_first);
    assert_int_equal(early_errno, 4711);
    assert_non_null(early_object);
    assert_int_equal((uintptr_t)early_object % 4096, 0);
    /* Not by chance: its class is the one that such requests fall into. */
    void *later = mallard_aligned_alloc(4096, hidden(0));
    assert_int_equal(mallard_malloc_usable_size(early_object), mallard_malloc_usable_size(later));
    mallard_free(later);
    mallard_free(early_object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_request_may_be_for_nothing_aligned),
        cmocka_unit_test(objects_of_no_size_are_distinct),
        cmocka_unit_test(sizes_beyond_ptrdiff_max_are_refused),
        cmocka_unit_test(products_that_overflow_are_refused),
        cmocka_unit_test(refused_resizing_changes_nothing),
        cmocka_unit_test(calloc_gives_zeroes),
        cmocka_unit_test(every_object_is_aligned_to_16_and_writable),
        cmocka_unit_test(realloc_keeps_the_content_over_every_border),
        cmocka_unit_test(a_smaller_copy_stays_within_its_bounds),
        cmocka_unit_test(shrinking_gives_back),
        cmocka_unit_test(moved_large_objects_have_room),
        cmocka_unit_test(realloc_keeps_the_content_at_random),
        cmocka_unit_test(growth_step_by_step_moves_rarely),
        cmocka_unit_test(realloc_is_malloc_and_free_at_its_ends),
        cmocka_unit_test(public_functions_check_their_arguments),
        cmocka_unit_test(alignments_from_1_to_1_mib_are_honoured),
        cmocka_unit_test(aligned_objects_are_of_the_class_that_fits),
        cmocka_unit_test(bad_alignments_are_refused),
        cmocka_unit_test(memalign_rounds_odd_alignments_up),
        cmocka_unit_test(pages_are_pages),
        cmocka_unit_test(aligned_objects_can_be_resized),
        cmocka_unit_test(free_keeps_errno),
        cmocka_unit_test(every_name_of_free_frees),
        cmocka_unit_test(the_key_of_the_freed_is_random),
        cmocka_unit_test(whatever_is_freed_is_marked),
        cmocka_unit_test(large_objects_are_resized_in_place),
        cmocka_unit_test(success_keeps_errno),
        cmocka_unit_test(huge_objects_work),
        cmocka_unit_test(objects_outlive_their_threads),
        cmocka_unit_test(destructors_of_threads_may_allocate),
        cmocka_unit_test(the_heap_works_after_many_threads_have_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
