/* SPDX-License-Identifier: Apache-2.0
 *
 * The size-class table: every size there is, against a linear search over the table itself.
 */
#include "meta/classes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uint32_t smallest_that_fits(size_t bytes) {
    uint32_t class = 1;
    while (mal_class[class].size_bytes < bytes)
        class ++;
    return class;
}

static void every_size_gets_the_smallest_class_that_fits(void **state) {
    (void)state;
    for (size_t bytes = 0; bytes <= MAL_MEDIUM_MAX_BYTES; bytes++)
        if (mal_class_for(bytes) != smallest_that_fits(bytes))
            fail_msg("%zu bytes get class %u, not %u", bytes, mal_class_for(bytes),
                     smallest_that_fits(bytes));
    for (size_t bytes = 0; bytes <= MAL_SMALL_MAX_BYTES; bytes++)
        assert_int_equal(mal_class_for_small(bytes), mal_class_for(bytes));
}

static void sizes_grow_and_are_multiples_of_a_granule(void **state) {
    (void)state;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        assert_int_equal(mal_class[class].size_bytes % 16, 0);
        if (class > 1)
            assert_true(mal_class[class].size_bytes > mal_class[class - 1].size_bytes);
        if (mal_class[class].size_bytes > MAL_SMALL_MAX_BYTES)
            assert_int_equal(mal_class[class].size_bytes % MAL_PAGE_BYTES, 0);
    }
    assert_int_equal(mal_class[1].size_bytes, 16);
    assert_int_equal(mal_class[MAL_CLASS_COUNT - 1].size_bytes, MAL_MEDIUM_MAX_BYTES);
}

/* Rounding up wastes at most a granule or an eighth (a quarter above 32 KiB); what does not fit the
 * end of a span is at most an eighth of it. */
static void waste_is_bounded(void **state) {
    (void)state;
    for (uint32_t class = 2; class < MAL_CLASS_COUNT; class ++) {
        const struct mal_class_info *info = &mal_class[class];
        uint32_t least = mal_class[class - 1].size_bytes + 1;
        uint32_t rounding = info->size_bytes - least;
        uint32_t bound =
            info->size_bytes > MAL_SMALL_MAX_BYTES ? info->size_bytes / 4 : info->size_bytes / 8;
        if (rounding >= 16)
            assert_true(rounding <= bound);
        uint32_t span_bytes = info->span_pages * MAL_PAGE_BYTES;
        uint32_t tail = span_bytes - info->span_objects * info->size_bytes;
        assert_true(tail < info->size_bytes);
        assert_true(tail <= span_bytes / 8);
    }
}

static void spans_and_batches_are_within_their_bounds(void **state) {
    (void)state;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        const struct mal_class_info *info = &mal_class[class];
        assert_int_equal(info->span_objects, info->span_pages * MAL_PAGE_BYTES / info->size_bytes);
        assert_in_range(info->span_objects, 1, 512);
        assert_in_range(info->batch, 1, 128);
        assert_true(info->cache_limit >= info->batch);
        if (info->size_bytes > MAL_SMALL_MAX_BYTES)
            assert_int_equal(info->span_objects, 1);
        else
            assert_true(info->span_objects >= 8);
    }
}

static void the_magic_divides_every_start(void **state) {
    (void)state;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        const struct mal_class_info *info = &mal_class[class];
        uint64_t span_bytes = (uint64_t)info->span_pages * MAL_PAGE_BYTES;
        for (uint64_t offset = 0; offset < span_bytes; offset += info->size_bytes)
            if ((offset * info->divide_magic) >> 32 != offset / info->size_bytes)
                fail_msg("class %u: offset %lu", class, (unsigned long)offset);
    }
}

static uint32_t smallest_aligned(size_t bytes, size_t alignment) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        if (mal_class[class].size_bytes >= bytes && mal_class[class].size_bytes % alignment == 0)
            return class;
    return 0;
}

static void aligned_classes_are_the_smallest(void **state) {
    (void)state;
    for (size_t alignment = 1; alignment <= MAL_PAGE_BYTES; alignment *= 2)
        for (size_t bytes = 0; bytes <= MAL_MEDIUM_MAX_BYTES + 100; bytes += bytes < 4096 ? 1 : 97)
            assert_int_equal(mal_class_for_aligned(bytes, alignment),
                             smallest_aligned(bytes, alignment));
    assert_int_equal(mal_class_for_aligned(1, 2 * MAL_PAGE_BYTES), 0);
    assert_int_equal(mal_class_for_aligned(SIZE_MAX, 16), 0);
}

/* Two objects of a class never share a state byte. */
static void states_are_fine_enough(void **state) {
    (void)state;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        uint32_t size = mal_class[class].size_bytes;
        unsigned shift = mal_class_state_shift(size);
        assert_true(shift <= 7);
        assert_true(16u << shift <= size);
    }
}

int main(void) {
    mal_classes_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_gets_the_smallest_class_that_fits),
        cmocka_unit_test(sizes_grow_and_are_multiples_of_a_granule),
        cmocka_unit_test(waste_is_bounded),
        cmocka_unit_test(spans_and_batches_are_within_their_bounds),
        cmocka_unit_test(the_magic_divides_every_start),
        cmocka_unit_test(aligned_classes_are_the_smallest),
        cmocka_unit_test(states_are_fine_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
