/* SPDX-License-Identifier: Apache-2.0
 *
 * The state-byte scheme: for every class, over whole spans as the page heap enters them, each
 * object start has a byte and a tag of its own, and no other address ever passes for a start.
 */
#include "meta/pagemap.h"
#include "pageheap/pageheap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* What the fast path of free asks. */
static bool passes_as_start(const void *pointer) {
    uint64_t granule = mal_pagemap_granule(pointer);
    if (!mal_pagemap_covers(granule))
        return false;
    uint64_t entry = mal_pagemap_entry(granule);
    return *mal_entry_state(entry, granule) == mal_state_start(granule);
}

static void mark(const void *pointer, uint8_t value) {
    uint64_t granule = mal_pagemap_granule(pointer);
    *mal_entry_state(mal_pagemap_entry(granule), granule) = value;
}

static void mark_start(const void *pointer) {
    mark(pointer, mal_state_start(mal_pagemap_granule(pointer)));
}

static char *object_of(const struct mal_span *span, uint32_t index) {
    return span->base + (size_t)index * mal_class[span->class].size_bytes;
}

static void each_start_has_its_own_byte(const struct mal_span *span) {
    const uint8_t *before = NULL;
    for (uint32_t i = 0; i < span->object_count; i++) {
        uint64_t granule = mal_pagemap_granule(object_of(span, i));
        const uint8_t *byte = mal_entry_state(mal_pagemap_entry(granule), granule);
        assert_true(byte >= span->states);
        assert_true(!before || byte > before);
        before = byte;
    }
}

/* Nothing but a start passes, at any byte of the span. */
static void only_starts_pass(const struct mal_span *span) {
    uint32_t size = mal_class[span->class].size_bytes;
    size_t bytes = (size_t)span->pages * MAL_PAGE_BYTES;
    size_t step = bytes > (64u << 10) ? 8 : 1;
    for (size_t at = 0; at < bytes; at += step) {
        bool is_start = at % size == 0 && at / size < span->object_count;
        if (passes_as_start(span->base + at) != is_start)
            fail_msg("class size %u: offset %zu of the span", size, at);
    }
}

/* A span's own array says what the shared one did, but of what is written there; another span of
 * the class does not see it. */
static void states_are_told_apart(struct mal_span *span, const struct mal_span *other) {
    assert_ptr_equal(span->states, other->states);
    assert_true(mal_pageheap_own_states(span));
    assert_true(mal_pageheap_own_states(span));
    assert_ptr_not_equal(span->states, other->states);
    for (uint32_t i = 0; i < span->object_count; i++) {
        char *object = object_of(span, i);
        assert_true(passes_as_start(object));
        mark(object, mal_state_sampled(mal_pagemap_granule(object)));
        assert_false(passes_as_start(object));
        assert_true(passes_as_start(object_of(other, i)));
        mark_start(object);
    }
    only_starts_pass(span);
}

static void every_address_knows_its_span(struct mal_span *span) {
    for (size_t page = 0; page < span->pages; page++) {
        assert_ptr_equal(mal_pagemap_span_of(span->base + page * MAL_PAGE_BYTES), span);
        assert_ptr_equal(mal_pagemap_span_of(span->base + page * MAL_PAGE_BYTES + 4093), span);
    }
    for (uint32_t i = 0; i < span->object_count; i++)
        assert_ptr_equal(mal_pagemap_span_at(object_of(span, i)), span);
}

/* Where addresses have 48 bits the tables lie at the very top. Nothing is touched there. */
static void entries_hold_any_address(void **state) {
    (void)state;
    static const uintptr_t places[] = {0x100000000, 0x7fffffffe000, 0xffff8a2c1000, 0xffffffffe000};
    static const size_t pages[] = {0, 1, 77777, (size_t)1 << 20};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++)
            for (unsigned shift = 0; shift < 8; shift++) {
                const uint8_t *states = (const uint8_t *)places[i];
                uint64_t granule = (uint64_t)pages[j] << MAL_GRANULES_PER_PAGE_SHIFT;
                uint64_t entry = mal_entry_make(5, shift, states, pages[j]);
                assert_int_equal(mal_entry_class(entry), 5);
                assert_ptr_equal(mal_entry_state(entry, granule), states);
                assert_ptr_equal(mal_entry_state(entry, granule + 511), states + (511 >> shift));
            }
}

static void every_class_keeps_the_scheme(void **state) {
    (void)state;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        struct mal_span *span = mal_pageheap_new_class_span(class, MAL_GROWTH_ALLOWED);
        assert_non_null(span);
        struct mal_span *other = mal_pageheap_new_class_span(class, MAL_GROWTH_ALLOWED);
        assert_non_null(other);
        each_start_has_its_own_byte(span);
        only_starts_pass(span);
        states_are_told_apart(span, other);
        every_address_knows_its_span(span);
        mal_pageheap_free_span(other);
        char *base = span->base;
        mal_pageheap_free_span(span);
        assert_null(mal_pagemap_span_of(base));
        assert_false(passes_as_start(base));
    }
}

static void large_objects_never_pass_the_fast_test(void **state) {
    (void)state;
    struct mal_span *span =
        mal_pageheap_new_large_span(100 * MAL_PAGE_BYTES, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    assert_non_null(span);
    for (size_t at = 0; at < 100 * MAL_PAGE_BYTES; at += 8) {
        assert_false(passes_as_start(span->base + at));
        if (at % 4096 == 0)
            assert_ptr_equal(mal_pagemap_span_of(span->base + at), span);
    }
    mal_pageheap_free_span(span);
}

static void wild_pointers_are_nowhere(void **state) {
    (void)state;
    int on_stack = 0;
    static int in_data;
    const void *wild[] = {NULL,
                          &on_stack,
                          &in_data,
                          (void *)1,
                          (void *)-1,
                          (void *)(uintptr_t)0x8000000000000000ull,
                          (void *)(mal_pagemap.base - 1),
                          (void *)(mal_pagemap.base - 16),
                          (void *)(mal_pagemap.base + mal_pagemap.window_bytes)};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        assert_false(passes_as_start(wild[i]));
        assert_null(mal_pagemap_span_of(wild[i]));
    }
    const char *behind = (char *)mal_pagemap.base + (mal_pagemap.extent_granules << 4);
    assert_false(passes_as_start(behind));
    assert_null(mal_pagemap_span_of(behind));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_hold_any_address),
        cmocka_unit_test(every_class_keeps_the_scheme),
        cmocka_unit_test(large_objects_never_pass_the_fast_test),
        cmocka_unit_test(wild_pointers_are_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
