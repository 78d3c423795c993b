/* SPDX-License-Identifier: Apache-2.0
 *
 * Word arithmetic against definitions that are too slow to be wrong.
 */
#include "base/bits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/seeded.h"

static void powers_of_two(void **state) {
    (void)state;
    assert_false(mal_is_pow2(0));
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t x = 1ull << bit;
        assert_true(mal_is_pow2(x));
        assert_int_equal(mal_log2_floor(x), bit);
        assert_int_equal(mal_pow2_ceil(x), x);
        if (bit >= 2) {
            assert_false(mal_is_pow2(x - 1));
            assert_int_equal(mal_log2_floor(x - 1), bit - 1);
            assert_int_equal(mal_pow2_ceil(x - 1), x);
        }
        if (bit >= 1 && bit < 63)
            assert_int_equal(mal_pow2_ceil(x + 1), 2 * x);
    }
    assert_int_equal(mal_pow2_ceil(0), 1);
}

static void rounding(void **state) {
    (void)state;
    for (uint64_t unit = 1; unit <= 64; unit *= 2)
        for (uint64_t x = 0; x < 300; x++) {
            assert_int_equal(mal_round_up(x, unit), (x + unit - 1) / unit * unit);
            assert_int_equal(mal_round_down(x, unit), x / unit * unit);
        }
    for (uint64_t by = 1; by < 40; by++)
        for (uint64_t x = 0; x < 200; x++)
            assert_int_equal(mal_ceil_div(x, by), x / by + (x % by != 0));
}

static void minimum_maximum_clamp(void **state) {
    (void)state;
    assert_int_equal(mal_min(3, UINT64_MAX), 3);
    assert_int_equal(mal_max(3, UINT64_MAX), UINT64_MAX);
    assert_int_equal(mal_clamp(0, 2, 9), 2);
    assert_int_equal(mal_clamp(5, 2, 9), 5);
    assert_int_equal(mal_clamp(10, 2, 9), 9);
}

static void masks_hold_exactly_their_bits(void **state) {
    (void)state;
    for (unsigned from = 0; from < 64; from++)
        for (unsigned count = 1; count <= 64 - from; count++)
            for (unsigned bit = 0; bit < 64; bit++)
                assert_int_equal(mal_mask(from, count) >> bit & 1,
                                 bit >= from && bit < from + count);
}

static void rotation_moves_the_low_bits_to_the_top(void **state) {
    (void)state;
    assert_int_equal(mal_rotate_right(0x10, 4), 1);
    assert_int_equal(mal_rotate_right(1, 4), 1ull << 60);
    uint64_t random = seeded_start(1);
    for (int i = 0; i < 1000; i++) {
        uint64_t x = seeded_next(&random);
        assert_seeded(mal_rotate_right(mal_rotate_right(x, 4), 60) == x);
    }
}

/* One flipped input bit flips about half of the output bits. */
static void mixing_spreads_every_bit(void **state) {
    (void)state;
    uint64_t random = seeded_start(2);
    for (unsigned bit = 0; bit < 64; bit++) {
        unsigned flipped = 0;
        for (int i = 0; i < 256; i++) {
            uint64_t x = seeded_next(&random);
            flipped += (unsigned)__builtin_popcountll(mal_mix(x) ^ mal_mix(x ^ 1ull << bit));
        }
        /* mean 256 * 32, deviation 64: ten deviations either side */
        assert_seeded(flipped > 256 * 32 - 640 && flipped < 256 * 32 + 640);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers_of_two),
        cmocka_unit_test(rounding),
        cmocka_unit_test(minimum_maximum_clamp),
        cmocka_unit_test(masks_hold_exactly_their_bits),
        cmocka_unit_test(rotation_moves_the_low_bits_to_the_top),
        cmocka_unit_test(mixing_spreads_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
